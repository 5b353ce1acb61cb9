// Every kernel of a folder that `portability write` made, through Dawn's Tint and into a pipeline of the Vulkan driver
// that there is. Usage: node tint.mjs FOLDER PACKAGE, where PACKAGE is npm's `webgpu`.
//
// Whatever the compiler says is a failure, warnings of uniformity among them. The last line of the output is a summary.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, library] = process.argv.slice(2);
const { create, globals } = await import(pathToFileURL(path.join(library, 'index.js')));
Object.assign(globalThis, globals);

const gpu = create([]);
const adapter = await gpu.requestAdapter();
if (!adapter) {
    console.error('error: Dawn finds no adapter: it needs a Vulkan driver (`cargo xtask driver`)');
    process.exit(1);
}
if (!adapter.features.has('shader-f16')) {
    console.error(`error: Dawn's adapter ${adapter.info.description} has no f16`);
    process.exit(1);
}
const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX } = adapter.limits;
const device = await adapter.requestDevice({
    requiredFeatures: ['shader-f16'],
    requiredLimits: { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX },
});

// All that is wrong with one kernel. What is between the scopes is said at once; pipelines are made by Dawn's own threads.
async function faults({ file, bindings }) {
    const code = fs.readFileSync(path.join(folder, file), 'utf8');
    device.pushErrorScope('internal');
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code });
    const entries = bindings.map((type, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: type === 'step' ? { type: 'uniform', hasDynamicOffset: true } : { type },
    }));
    const layout = device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] });
    const scopes = [device.popErrorScope(), device.popErrorScope()];
    const said = (await module.getCompilationInfo()).messages.map((one) => `${one.type} in line ${one.lineNum}: ${one.message}`);
    try {
        await device.createComputePipelineAsync({ layout, compute: { module, entryPoint: 'main' } });
    } catch (error) {
        said.push(error.message);
    }
    for (const error of await Promise.all(scopes)) {
        if (error) said.push(error.message);
    }
    return said;
}

const kernels = JSON.parse(fs.readFileSync(path.join(folder, 'index.json'), 'utf8'));
console.log(`Dawn on ${adapter.info.description}`);
let failed = 0;
let next = 0;

// Takes kernels until there are no more.
async function work() {
    while (next < kernels.length) {
        const kernel = kernels[next++];
        const said = await faults(kernel);
        if (said.length) {
            failed += 1;
            if (failed <= 5) console.log(`${kernel.name} (${kernel.file}):\n  ${said.join('\n  ')}`);
        }
    }
}

await Promise.all(os.cpus().map(work));
console.log(JSON.stringify({ done: kernels.length, failed }));
// Dawn's threads would keep the process.
process.exit(failed === 0 && kernels.length > 0 ? 0 : 1);
