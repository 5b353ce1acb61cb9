//! Compares this engine with other libraries on one machine, in turn, on the same numbers. See `README.md`.

mod bars;
mod burn_peer;
mod candle_peer;
mod case;
mod measure;
mod onnx;
mod ours;
mod peer;
mod process;
mod record;
mod roofline;
mod served;
mod session;
mod shapes;
mod table;
mod tract_peer;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::Parser;
use wgpu_rnn::{Cell, Device, DeviceKind, Precision};

use crate::burn_peer::Burn;
use crate::ours::Ours;
use crate::peer::Peer;
use crate::process::{Process, Python};
use crate::record::{Record, today};
use crate::session::{Place, Session};
use crate::shapes::{Mode, Shape};

/// Times this engine and other libraries in turn, and checks that they compute the same.
#[derive(Parser)]
struct Args {
    /// Devices, one after the other: cpu, software, gpu. Burn takes the same adapter; PyTorch is compared on the CPU for
    /// cpu, through cuDNN for gpu. Default: a hardware GPU or else a software adapter, then the CPU.
    #[arg(long, value_delimiter = ',')]
    device: Vec<DeviceKind>,
    /// Shapes: S1 to S6, X1 to X3, or sizes T,B,I,H such as LSTM:25,16,512,512. Default: S1 to S6, and on a hardware GPU
    /// X1 to X3.
    #[arg(long, value_parser = |text: &str| shapes::parse_list(text).map(Shapes))]
    shapes: Option<Shapes>,
    /// Cells.
    #[arg(long, value_delimiter = ',', default_value = "lstm,gru")]
    cells: Vec<Cell>,
    /// Modes.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "forward,training")]
    modes: Vec<Mode>,
    /// Leave Burn, candle and tract out.
    #[arg(long)]
    no_burn: bool,
    /// Python with PyTorch; without one, or where it has no PyTorch for the device, PyTorch is left out.
    #[arg(long)]
    python: Option<PathBuf>,
    /// It is an error when PyTorch, or on the CPU ONNX Runtime, has to be left out; so it is with --check.
    #[arg(long)]
    need_torch: bool,
    /// Folder of `torch_rnn.py` and `onnx_rnn.py`.
    #[arg(long, default_value = "peers")]
    scripts: PathBuf,
    /// Threads of each side on the CPU, one table after the other. Default: 1, and 2 where there are as many.
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    /// Answers the requests of another one of these programs for a library.
    #[arg(long, hide = true)]
    serve: Option<String>,
    /// Folder of the records.
    #[arg(long, default_value = "benches/record")]
    out: PathBuf,
    /// What `wgpu-rnn tune` measured on the GPU, for plans to follow.
    #[arg(long)]
    tuning: Option<PathBuf>,
    /// Date of the record; default: today in UTC.
    #[arg(long)]
    date: Option<String>,
    /// Write no record.
    #[arg(long)]
    no_record: bool,
    /// Add to what other runs of the date have recorded. Without, that is an error: a record is of one run.
    #[arg(long)]
    merge: bool,
    /// Fail when a bar is missed.
    #[arg(long)]
    check: bool,
}

#[derive(Clone)]
struct Shapes(Vec<Shape>);

impl Args {
    /// Whether PyTorch and ONNX Runtime must be there: bars that none of them was measured for are not reached.
    fn needs_all(&self) -> bool {
        self.need_torch || self.check
    }
}

fn main() -> ExitCode {
    env_logger::init();
    let args = Args::parse();
    match args.serve.as_deref().map_or_else(|| run(&args), |name| served::serve(name).map(|()| true)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let open = |kind: &DeviceKind| pollster::block_on(Device::open(*kind));
    let devices: Vec<Device> = match args.device.is_empty() {
        false => args.device.iter().map(open).collect::<Result<_, _>>()?,
        true => {
            let adapter = open(&DeviceKind::Gpu).or_else(|_| open(&DeviceKind::Software)).ok();
            adapter.into_iter().chain([Device::cpu()?]).collect()
        }
    };
    let date = args.date.clone().unwrap_or_else(today);
    let mut session = Session::default();
    for device in &devices {
        let kind = device.kind_name();
        let adapter = match kind {
            "cpu" => format!("CPU {}", processor()?),
            _ => device.name(),
        };
        println!("{adapter} ({kind}, {})", device.backend());
        if let (Some(path), Some(gpu)) = (&args.tuning, device.gpu()) {
            gpu.set_tuning(serde_json::from_str(&std::fs::read_to_string(path)?)?)?;
        }
        let record = match args.no_record {
            true => None,
            false => Some(Record::new(&args.out, &adapter, &date, args.merge)?),
        };
        session.enter(Place { kind, adapter, record });
        let shapes = args.shapes.clone().map_or_else(|| Shape::named(kind == "gpu"), |shapes| shapes.0);
        for (device, mut peers, threads) in pairings(args, device)? {
            session.peak =
                threads.map(|threads| Ok::<_, anyhow::Error>((threads, roofline::peak(threads)?))).transpose()?;
            let mut ours = Ours::new(&device, Precision::Full);
            for shape in &shapes {
                for cell in shape.cells(&args.cells) {
                    for &mode in &args.modes {
                        session.try_compare(&mut ours, &mut peers, shape, cell, mode);
                    }
                }
            }
        }
    }
    Ok(session.finish(args.check))
}

/// A device of this engine, the peers that are compared with it, and on the CPU the threads of each.
type Pairing = (Device, Vec<Box<dyn Peer>>, Option<usize>);

/// All that there are on a device.
fn pairings(args: &Args, device: &Device) -> Result<Vec<Pairing>> {
    let kind = device.kind_name();
    let python = python(args, kind)?;
    let torch = |name: &str| python.as_ref().map(|python| Process::start(python.torch(name), name)).transpose();
    if kind == "cpu" {
        // Threads for threads: each side gets as many.
        let there = std::thread::available_parallelism().map_or(1, usize::from);
        let mut pairings = Vec::new();
        let all = match args.threads.as_slice() {
            [] => (1..=there.min(2)).collect(),
            asked => asked.to_vec(),
        };
        if let Some(&more) = all.iter().find(|&&threads| threads == 0 || threads > there) {
            bail!("expected 1 to {there} threads, which this machine runs at once, got {more}");
        }
        for threads in all {
            let mut peers: Vec<Box<dyn Peer>> = Vec::new();
            peers.extend(torch(&format!("torch-cpu-{threads}-threads"))?.map(|peer| Box::new(peer) as Box<dyn Peer>));
            if let Some(python) = &python {
                match python.lacks_onnx() {
                    None => {
                        let name = format!("onnxruntime-{threads}-threads");
                        peers.push(Box::new(Process::start(python.onnx(&name), &name)?));
                    }
                    Some(why) if args.needs_all() => bail!("ONNX Runtime is needed: {why}"),
                    Some(why) => println!("ONNX Runtime is left out: {why}"),
                }
            }
            for name in served::NAMES.iter().filter(|_| !args.no_burn) {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--serve", name]).env("RAYON_NUM_THREADS", threads.to_string());
                peers.push(Box::new(Process::start(command, &format!("{name}-{threads}-threads"))?));
            }
            for peer in &peers {
                println!("{} {}", peer.name(), peer.version());
            }
            pairings.push((Device::cpu_with_threads(threads)?, peers, Some(threads)));
        }
        return Ok(pairings);
    }
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    if !args.no_burn {
        peers.push(Box::new(Burn::new(device)?));
    }
    for name in ["torch-cudnn-f32", "torch-cudnn-tf32", "torch-cudnn-f16"] {
        if kind == "gpu"
            && let Some(torch) = torch(name)?
        {
            println!("{name} on {}", torch.adapter());
            peers.push(Box::new(torch));
        }
    }
    Ok(vec![(device.clone(), peers, None)])
}

/// The Python to run PyTorch with on a `kind` of device, if there is one.
fn python(args: &Args, kind: &str) -> Result<Option<Python>> {
    let why = match (&args.python, kind) {
        (_, "software") => Some("it has no software adapter".to_string()),
        (None, _) => Some("no --python".to_string()),
        (Some(program), _) => {
            let python = Python { program: program.clone(), scripts: args.scripts.clone() };
            match python.lacks_torch(kind == "gpu") {
                None => return Ok(Some(python)),
                why => why,
            }
        }
    };
    let why = why.unwrap_or_default();
    if args.needs_all() && kind != "software" {
        bail!("PyTorch is needed: {why}");
    }
    println!("PyTorch is left out: {why}");
    Ok(None)
}

/// The processor's name.
fn processor() -> Result<String> {
    let mut system = sysinfo::System::new()?;
    system.refresh_cpu_all();
    let name = system.cpus().first().map(|cpu| cpu.brand().trim().to_string());
    Ok(name.filter(|name| !name.is_empty()).unwrap_or_else(|| std::env::consts::ARCH.to_string()))
}
