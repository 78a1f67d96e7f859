/* exec MODE ...: executes programs in every way there is, and says what came of it; built for several processors, so that
 * programs of one execute programs of another (tests/it/emulation_modes.rs). With 32 bits there is no
 * C library: PROGRAM ARGUMENT... is executed, and the exit status is the error; after "-" with an argument that is too long. */
#define _GNU_SOURCE

#ifdef __i386__

enum { EXIT = 1, EXECVE = 11 };

/* As the last thing of all a number that no call gives, if it does not leave its arguments as they were. */
static int call(int number, const void *a, const void *b, const void *c) {
	int result;
	const void *d = a, *e = b, *f = c;
	__asm__ volatile("int $0x80" : "=a"(result), "+b"(d), "+c"(e), "+d"(f) : "0"(number) : "memory");
	return a == d && b == e && c == f ? result : -99;
}

static char huge[200000];

__attribute__((used)) static void start(long *stack) {
	char **argv = (char **)(stack + 1), **envp = argv + *stack + 1;
	char *line[] = { argv[2], huge, 0 };
	for (int n = 0; argv[1][0] == '-' && n < 199999; n++) huge[n] = 'x';
	int error = argv[1][0] == '-' ? -call(EXECVE, argv[2], line, envp) : -call(EXECVE, argv[1], argv + 1, envp);
	call(EXIT, (void *)error, 0, 0);
}

__asm__(".globl _start\n_start: mov %esp, %eax\n push %eax\n call start\n");

#else

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

extern char **environ;

static void failed(const char *what) {
	printf("%s: %s\n", what, strerrorname_np(errno));
	fflush(stdout);
	_exit(90);
}

static void ended(const char *what, pid_t child) {
	int status;
	if (waitpid(child, &status, 0) != child) failed("waitpid");
	if (WIFEXITED(status)) printf("%s: exit %d\n", what, WEXITSTATUS(status));
	else printf("%s: signal %d\n", what, WTERMSIG(status));
	fflush(stdout);
}

static int at(int fd, const char *path, char **argv, int flags) {
	return (int)syscall(SYS_execveat, fd, path, argv, environ, flags);
}

/* A copy of `path` in memory, or in a file that has no name any more. */
static int copy(const char *path, const char *kind) {
	char buffer[1 << 16];
	ssize_t length;
	int from = open(path, O_RDONLY | O_CLOEXEC), to;
	if (!strncmp(kind, "memfd", 5)) to = memfd_create("copy", 0);
	else {
		to = open("copy", O_RDWR | O_CREAT | O_TRUNC, 0755);
	}
	if (from < 0 || to < 0) failed(kind);
	while ((length = read(from, buffer, sizeof buffer)) > 0)
		if (write(to, buffer, (size_t)length) != length) failed("write");
	if (strncmp(kind, "memfd", 5)) {
		close(to);
		to = open("copy", O_RDONLY);
		unlink("copy");
	}
	if (strstr(kind, "cloexec")) fcntl(to, F_SETFD, FD_CLOEXEC);
	return to;
}

static char **words;

static void *execute(void *unused) {
	(void)unused;
	execv(words[0], words);
	failed(words[0]);
	return 0;
}

static void *idle(void *unused) {
	(void)unused;
	for (;;) pause();
	return 0;
}

static void *fork_and_execute(void *unused) {
	(void)unused;
	for (int n = 0; n < 3; n++) {
		int status = -1;
		pid_t child = fork();
		if (!child) execute(0);
		if (waitpid(child, &status, 0) != child || status) return (void *)1;
	}
	return 0;
}

static volatile int seen;

static void handler(int signal) {
	(void)signal;
	seen++;
}

static int by_clone(void *unused) {
	(void)unused;
	execv(words[0], words);
	_exit(91);
}

int main(int argc, char **argv) {
	const char *mode = argc > 1 ? argv[1] : "args";
	words = argv + 2;
	if (!strcmp(mode, "args")) {
		for (int n = 0; n < argc; n++) printf("[%s]", argv[n]);
		printf(" %s\n", getenv("MARK") ? getenv("MARK") : "-");
	} else if (!strcmp(mode, "true")) {
		return 0;
	} else if (!strcmp(mode, "exec")) {
		execute(0);
	} else if (!strcmp(mode, "execvp")) {
		execvp(words[0], words);
		failed(words[0]);
	} else if (!strcmp(mode, "vfork")) {
		for (int n = 0; n < 3; n++) {
			pid_t child = vfork();
			if (!child) {
				execv(words[0], words);
				_exit(90);
			}
			ended("vfork", child);
		}
	} else if (!strcmp(mode, "clone-vm")) {
		/* A child with little stack of its own, in the memory of this process, which goes on beside it. */
		static char stack[16384] __attribute__((aligned(16)));
		static char guard[4096];
		memset(guard, 7, sizeof guard);
		for (int n = 0; n < 3; n++) {
			pid_t child = clone(by_clone, stack + 2048, CLONE_VM | CLONE_VFORK | SIGCHLD, 0);
			ended("clone", child);
		}
		for (size_t n = 0; n < sizeof guard; n++)
			if (guard[n] != 7) return printf("memory was changed\n"), 1;
		/* Below the stack that it was given nothing may be written. */
		memset(stack, 0, sizeof stack);
	} else if (!strcmp(mode, "spawn") || !strcmp(mode, "spawnp")) {
		pid_t child;
		posix_spawnattr_t attributes;
		sigset_t mask;
		posix_spawnattr_init(&attributes);
		sigemptyset(&mask);
		posix_spawnattr_setsigmask(&attributes, &mask);
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
		errno = (mode[5] ? posix_spawnp : posix_spawn)(&child, words[0], 0, &attributes, words, environ);
		if (errno) failed(mode);
		ended(mode, child);
	} else if (!strcmp(mode, "fexecve") || !strcmp(mode, "fexecve-cloexec")) {
		int fd = open(words[0], O_RDONLY | (mode[7] ? O_CLOEXEC : 0));
		fexecve(fd, words, environ);
		failed(mode);
	} else if (!strcmp(mode, "memfd") || !strcmp(mode, "memfd-cloexec") || !strcmp(mode, "deleted") || !strcmp(mode, "deleted-cloexec")) {
		int fd = copy(words[0], mode), flags = fcntl(fd, F_GETFD);
		char *huge = malloc(200000), *line[] = { words[0], huge, 0 };
		memset(huge, 'x', 200000);
		huge[199999] = 0;
		fexecve(fd, line, environ);
		/* Of a program that cannot be executed at all the length of its arguments may be the second to be found out. */
		if (errno == ENOENT) errno = E2BIG;
		printf("%s: %s, %d\n", mode, strerrorname_np(errno), fcntl(fd, F_GETFD) == flags);
		fflush(stdout);
		fexecve(fd, words, environ);
		failed(mode);
	} else if (!strcmp(mode, "execveat")) {
		/* DIRECTORY PATH ARGUMENT... */
		at(strcmp(words[0], "-") ? open(words[0], O_PATH | O_DIRECTORY) : AT_FDCWD, words[1], words + 1, 0);
		failed(mode);
	} else if (!strcmp(mode, "nofollow")) {
		at(AT_FDCWD, words[0], words, AT_SYMLINK_NOFOLLOW);
		failed(mode);
	} else if (!strcmp(mode, "empty")) {
		at(AT_FDCWD, "", words, 0);
		failed(mode);
	} else if (!strcmp(mode, "no-arguments")) {
		syscall(SYS_execve, words[0], 0, environ);
		failed(mode);
	} else if (!strcmp(mode, "no-environment")) {
		char *none[] = { 0 };
		execve(words[0], words, none);
		failed(mode);
	} else if (!strcmp(mode, "thread")) {
		pthread_t thread;
		for (int n = 0; n < 4; n++) pthread_create(&thread, 0, idle, 0);
		pthread_create(&thread, 0, execute, 0);
		for (;;) pause();
	} else if (!strcmp(mode, "threads")) {
		pthread_t threads[4];
		void *result;
		int bad = 0;
		for (int n = 0; n < 4; n++) pthread_create(&threads[n], 0, fork_and_execute, 0);
		for (int n = 0; n < 4; n++) {
			pthread_join(threads[n], &result);
			bad |= result != 0;
		}
		printf("threads: %s\n", bad ? "failed" : "done");
	} else if (!strcmp(mode, "many")) {
		/* NUMBER PROGRAM ARGUMENT... */
		int number = atoi(words[0]), done = 0;
		words++;
		for (int n = 0; n < number; n++) {
			int status = -1;
			pid_t child = fork();
			if (!child) execute(0);
			if (waitpid(child, &status, 0) == child && !status) done++;
		}
		printf("many: %d\n", done);
	} else if (!strcmp(mode, "deep")) {
		/* NUMBER PROGRAM OTHER: each level is a child of the one before; the two programs take turns. */
		char number[16];
		int left = atoi(words[0]), status;
		if (!left) return printf("deep: bottom\n"), 7;
		snprintf(number, sizeof number, "%d", left - 1);
		pid_t child = fork();
		if (!child) {
			execl(words[2], words[2], "deep", number, words[2], words[1], (char *)0);
			failed("deep");
		}
		waitpid(child, &status, 0);
		return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
	} else if (!strcmp(mode, "chain")) {
		/* NUMBER PROGRAM OTHER: the same in one process. */
		char number[16];
		int left = atoi(words[0]);
		if (!left) return printf("chain: end\n"), 0;
		snprintf(number, sizeof number, "%d", left - 1);
		execl(words[2], words[2], "chain", number, words[2], words[1], (char *)0);
		failed("chain");
	} else if (!strcmp(mode, "errors")) {
		/* PATH...: none can be executed, and this process goes on after each. */
		for (char **path = words; *path; path++) {
			long a = 11, b = 22, c = 33;
			char *line[] = { *path, "x", 0 };
			execv(*path, line);
			printf("%s: %s %ld\n", *path, strerrorname_np(errno), a + b + c);
		}
	} else if (!strcmp(mode, "big")) {
		/* NUMBER LENGTH PROGRAM: executed with so many arguments. */
		int number = atoi(words[0]), length = atoi(words[1]);
		char **line = calloc((size_t)number + 4, sizeof *line), *text = malloc((size_t)length + 1);
		memset(text, 'x', (size_t)length);
		text[length] = 0;
		line[0] = words[2];
		line[1] = "count";
		for (int n = 0; n < number; n++) line[2 + n] = text;
		for (int n = 0; n < 2; n++) execv(words[2], line);
		failed("big");
	} else if (!strcmp(mode, "count")) {
		size_t bytes = 0;
		for (int n = 2; n < argc; n++) bytes += strlen(argv[n]);
		printf("count: %d %zu\n", argc - 2, bytes);
#ifdef __x86_64__
	} else if (!strcmp(mode, "registers")) {
		/* PROGRAM: a call that fails changes no register. */
		char *long_one = malloc(200000), *line[] = { words[0], long_one, 0 };
		memset(long_one, 'x', 200000);
		long_one[199999] = 0;
		long a = (long)words[0], b = (long)line, c = (long)environ, result;
		__asm__ volatile("syscall" : "=a"(result), "+D"(a), "+S"(b), "+d"(c) : "0"(SYS_execve) : "rcx", "r11", "memory");
		printf("execve: %ld %d\n", result, a == (long)words[0] && b == (long)line && c == (long)environ);
		a = open(words[0], O_RDONLY), b = (long)"", c = (long)line;
		long before = a, empty = b;
		register long d __asm__("r10") = (long)environ, e __asm__("r8") = AT_EMPTY_PATH;
		__asm__ volatile("syscall" : "=a"(result), "+D"(a), "+S"(b), "+d"(c), "+r"(d), "+r"(e) : "0"(SYS_execveat) : "rcx", "r11", "memory");
		int same = a == before && b == empty && c == (long)line && d == (long)environ && e == AT_EMPTY_PATH;
		printf("execveat: %ld %d\n", result, same);
#endif
	} else if (!strcmp(mode, "job")) {
		/* PROGRAM that sleeps: stopped, continued and killed, as a shell would see it. */
		siginfo_t info;
		pid_t child = fork();
		if (!child) execute(0);
		usleep(200000);
		kill(child, SIGSTOP);
		int result = waitid(P_PID, (id_t)child, &info, WSTOPPED);
		printf("job: %d stopped %d\n", result, info.si_status);
		kill(child, SIGCONT);
		result = waitid(P_PID, (id_t)child, &info, WCONTINUED);
		printf("job: %d continued %d\n", result, info.si_status);
		kill(child, SIGTERM);
		ended("job", child);
	} else if (!strcmp(mode, "signals")) {
		/* PROGRAM: executed while signals come, at first with an argument that is too long. */
		struct sigaction action = { .sa_handler = handler };
		struct itimerval often = { { 0, 500 }, { 0, 500 } };
		int done = 0;
		char *huge = malloc(200000), *line[] = { words[0], huge, 0 };
		memset(huge, 'x', 200000);
		huge[199999] = 0;
		sigaction(SIGALRM, &action, 0);
		for (int n = 0; n < 5; n++) {
			int status = -1;
			pid_t child = fork();
			if (!child) {
				setitimer(ITIMER_REAL, &often, 0);
				for (int m = 0; m < 100; m++)
					if (execv(words[0], line) != -1 || errno != E2BIG) failed("signals");
				if (!seen) failed("no signals");
				signal(SIGALRM, SIG_IGN);
				execute(0);
			}
			while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
			done += !status;
		}
		printf("signals: %d\n", done);
	} else if (!strcmp(mode, "state")) {
		/* What survives, and what not. */
		sigset_t mask;
		if (argc > 2) {
			sigemptyset(&mask);
			sigaddset(&mask, SIGUSR1);
			sigprocmask(SIG_BLOCK, &mask, 0);
			signal(SIGUSR2, SIG_IGN);
			umask(027);
			int kept = dup2(1, 40), closed = fcntl(1, F_DUPFD_CLOEXEC, 50);
			if (kept != 40 || closed < 0) failed("dup");
			execl(words[0], words[0], "state", (char *)0);
			failed("state");
		}
		struct sigaction action;
		sigprocmask(SIG_BLOCK, 0, &mask);
		sigaction(SIGUSR2, 0, &action);
		printf("state: blocked %d ignored %d umask %o kept %d closed %d\n", sigismember(&mask, SIGUSR1), action.sa_handler == SIG_IGN,
			umask(0), fcntl(40, F_GETFD) >= 0, fcntl(50, F_GETFD) < 0);
	} else {
		printf("no mode %s\n", mode);
		return 2;
	}
	return 0;
}
#endif
