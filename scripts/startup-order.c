// Prints the functions that a program and its children execute, in the order in which each begins to run first, by single steps
// (ptrace(2)). scripts/startup-order uses it.
//
// startup-order SYMBOLS COMMAND [ARGUMENT...]
// SYMBOLS: lines "ADDRESS SIZE NAME" in hexadecimal, sorted, of a position-independent program (nm -S). A process that executes another
// program is no longer traced.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

struct symbol {
  unsigned long start, size;
  char *name;
  int seen;
};
static struct symbol *symbols;
static size_t count;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void read_symbols(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) fail(path);
  char name[65536];
  unsigned long start, size;
  size_t room = 0;
  while (fscanf(file, "%lx %lx %65535s", &start, &size, name) == 3) {
    if (count == room) {
      room = room ? 2 * room : 4096;
      symbols = realloc(symbols, room * sizeof *symbols);
      if (!symbols) fail("realloc");
    }
    symbols[count++] = (struct symbol){start, size, strdup(name), 0};
  }
  fclose(file);
}

// The first of the symbols that contain `address`: several may have the same place.
static struct symbol *at(unsigned long address) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (symbols[middle].start <= address) low = middle + 1;
    else high = middle;
  }
  if (low == 0 || address - symbols[low - 1].start >= symbols[low - 1].size) return NULL;
  return &symbols[low - 1];
}

// Where the program is mapped in `process`: the start of its first mapping.
static unsigned long base_of(pid_t process) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/maps", process);
  FILE *maps = fopen(path, "r");
  unsigned long base = 0;
  if (!maps || fscanf(maps, "%lx-", &base) != 1) fail(path);
  fclose(maps);
  return base;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  read_symbols(argv[1]);
  pid_t first = fork();
  if (first == 0) {
    if (ptrace(PTRACE_TRACEME, 0, 0, 0)) fail("PTRACE_TRACEME");
    execvp(argv[2], argv + 2);
    fail(argv[2]);
  }
  int status;
  if (waitpid(first, &status, 0) != first || !WIFSTOPPED(status)) fail("waitpid");
  long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, first, 0, options)) fail("PTRACE_SETOPTIONS");
  unsigned long base = base_of(first);
  struct symbol *last = NULL;
  ptrace(PTRACE_SINGLESTEP, first, 0, 0);
  for (;;) {
    pid_t process = waitpid(-1, &status, __WALL);
    if (process < 0) break;
    if (!WIFSTOPPED(status)) continue;
    int signal = WSTOPSIG(status), event = status >> 16;
    if (event == PTRACE_EVENT_EXEC) {
      ptrace(PTRACE_DETACH, process, 0, 0);
      continue;
    }
    if (signal == SIGTRAP || signal == SIGSTOP) signal = 0;
    struct user_regs_struct registers;
    if (!event && ptrace(PTRACE_GETREGS, process, 0, &registers) == 0) {
      struct symbol *symbol = last;
      unsigned long address = registers.rip - base;
      if (!symbol || address - symbol->start >= symbol->size) symbol = at(address);
      if (symbol && !symbol->seen) {
        symbol->seen = 1;
        puts(symbol->name);
      }
      last = symbol;
    }
    ptrace(PTRACE_SINGLESTEP, process, 0, signal);
  }
  return 0;
}
