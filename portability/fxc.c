// Compiles a file of HLSL by FXC as wgpu's DX12 backend does, and prints the seconds of processor time that it took.
//
//     fxc.exe FILE ENTRY     with d3dcompiler_47.dll beside it

#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

// D3DCOMPILE_ENABLE_STRICTNESS, the one flag that wgpu sets.
#define STRICTNESS (1u << 11)

typedef struct Blob Blob;
struct Blob {
    struct {
        HRESULT(WINAPI *query)(Blob *, const void *, void **);
        ULONG(WINAPI *add)(Blob *);
        ULONG(WINAPI *release)(Blob *);
        void *(WINAPI *pointer)(Blob *);
        SIZE_T(WINAPI *size)(Blob *);
    } const *table;
};

typedef HRESULT(WINAPI *Compile)(
    const void *source, SIZE_T size, const char *name, const void *defines, void *include, const char *entry,
    const char *target, UINT flags, UINT effect_flags, Blob **code, Blob **messages
);

static double ticks(FILETIME time) {
    return (double)((unsigned long long)time.dwHighDateTime << 32 | time.dwLowDateTime) * 1e-7;
}

static double used(void) {
    FILETIME created, ended, kernel, user;
    return GetProcessTimes(GetCurrentProcess(), &created, &ended, &kernel, &user) ? ticks(kernel) + ticks(user) : 0.0;
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "expected a file and an entry point, got %d arguments\n", count - 1);
        return 2;
    }
    HMODULE library = LoadLibraryA("d3dcompiler_47.dll");
    Compile compile = library ? (Compile)(void *)GetProcAddress(library, "D3DCompile") : NULL;
    FILE *file = fopen(arguments[1], "rb");
    if (!compile || !file) {
        fprintf(stderr, "%s cannot be %s\n", compile ? arguments[1] : "d3dcompiler_47.dll", compile ? "read" : "loaded");
        return 2;
    }
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *source = malloc(size);
    if (!source || fread(source, 1, size, file) != size) {
        fprintf(stderr, "%s cannot be read\n", arguments[1]);
        return 2;
    }
    Blob *code = NULL, *messages = NULL;
    double before = used();
    HRESULT result =
        compile(source, size, NULL, NULL, NULL, arguments[2], "cs_5_1", STRICTNESS, 0, &code, &messages);
    printf("%.2f\n", used() - before);
    if (FAILED(result)) {
        if (messages) {
            fwrite(messages->table->pointer(messages), 1, messages->table->size(messages), stderr);
        }
        return 1;
    }
    return 0;
}
