// Compiles files of HLSL by FXC as wgpu's DX12 backend does. Each line of its input names a file and its entry point; for
// each it prints a line: the seconds of processor time that it took, or what is wrong.
//
//     fxc.exe < LIST     with d3dcompiler_47.dll beside it
//
// It ends after a file that takes more than a minute, which FXC cannot be kept from; the rest is for another run.

#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

// D3DCOMPILE_ENABLE_STRICTNESS, the one flag that wgpu sets.
#define STRICTNESS (1u << 11)

// Seconds that a file may take.
#define LIMIT 60

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

// What FXC is at, and when it began: the watch ends the process when a minute has passed since.
static volatile ULONGLONG began = 0;

static __attribute__((noreturn)) DWORD WINAPI watch(void *unused) {
    (void)unused;
    for (;;) {
        Sleep(500);
        ULONGLONG since = began;
        if (since && GetTickCount64() - since > LIMIT * 1000) {
            printf("error: it is not done after %d s\n", LIMIT);
            fflush(stdout);
            TerminateProcess(GetCurrentProcess(), 0);
        }
    }
}

// In one line.
static void say(const char *text, size_t size) {
    printf("error: ");
    for (size_t at = 0; at < size && text[at]; at += 1) {
        putchar(text[at] == '\n' || text[at] == '\r' ? ' ' : text[at]);
    }
    putchar('\n');
}

static void one(Compile compile, const char *name, const char *entry) {
    FILE *file = fopen(name, "rb");
    if (!file) {
        printf("error: %s cannot be read\n", name);
        return;
    }
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *source = malloc(size + 1);
    size_t read = source ? fread(source, 1, size, file) : 0;
    fclose(file);
    Blob *code = NULL, *messages = NULL;
    began = GetTickCount64();
    double before = used();
    HRESULT result =
        compile(source, read, NULL, NULL, NULL, entry, "cs_5_1", STRICTNESS, 0, &code, &messages);
    double seconds = used() - before;
    began = 0;
    if (SUCCEEDED(result)) {
        printf("%.2f\n", seconds);
    } else if (messages) {
        say(messages->table->pointer(messages), messages->table->size(messages));
    } else {
        printf("error: D3DCompile returns %lx\n", (unsigned long)result);
    }
    if (code) {
        code->table->release(code);
    }
    if (messages) {
        messages->table->release(messages);
    }
    free(source);
}

int main(void) {
    HMODULE library = LoadLibraryA("d3dcompiler_47.dll");
    Compile compile = library ? (Compile)(void *)GetProcAddress(library, "D3DCompile") : NULL;
    if (!compile) {
        fprintf(stderr, "d3dcompiler_47.dll cannot be loaded\n");
        return 2;
    }
    CreateThread(NULL, 0, watch, NULL, 0, NULL);
    char name[256], entry[256];
    while (scanf("%255s %255s", name, entry) == 2) {
        one(compile, name, entry);
        fflush(stdout);
    }
    return 0;
}
