/* directories COUNT: reads a new directory of COUNT files in every way there is, as a program that was compiled without large
 * file support. Says what went wrong, or nothing. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno)); exit(1); } } while (0)

static int count;

static void tick(int number) { (void)number; }

/* How many entries there are from here on. */
static int rest(DIR *dir) {
	int found = 0;
	errno = 0;
	while (readdir(dir)) found++;
	CHECK(errno == 0);
	return found;
}

static void *again(void *arg) {
	DIR *dir = opendir(".");
	CHECK(dir);
	for (int round = 0; round < 20; round++) {
		CHECK(rest(dir) == count + 2);
		rewinddir(dir);
	}
	closedir(dir);
	return arg;
}

int main(int argc, char **argv) {
	CHECK(argc == 2 && sizeof(off_t) == 4 && sizeof(void *) == 4);
	count = atoi(argv[1]);
	CHECK(mkdir("d", 0755) == 0 && chdir("d") == 0);
	for (int file = 0; file < count; file++) {
		char name[32];
		sprintf(name, "file-%d", file);
		CHECK(close(open(name, O_CREAT | O_WRONLY, 0644)) == 0);
	}
	/* From the beginning to the end, and from every position. */
	DIR *dir = opendir(".");
	CHECK(dir);
	char (*names)[32] = calloc(count + 2, sizeof *names);
	long *after = calloc(count + 2, sizeof *after);
	struct dirent *entry;
	int read = 0;
	for (errno = 0; (entry = readdir(dir)); read++) {
		CHECK(read < count + 2);
		strcpy(names[read], entry->d_name);
		after[read] = telldir(dir);
		CHECK(after[read] >= 0);
	}
	CHECK(errno == 0 && read == count + 2);
	for (int round = 0; round < 50; round++) {
		int at = round * 7919 % (count + 1);
		seekdir(dir, after[at]);
		CHECK((entry = readdir(dir)) && !strcmp(entry->d_name, names[at + 1]));
	}
	seekdir(dir, after[count + 1]);
	CHECK(rest(dir) == 0);
	/* Two descriptors of one open directory have one position; two open directories do not. */
	rewinddir(dir);
	DIR *twin = fdopendir(dup(dirfd(dir))), *other = opendir(".");
	CHECK(twin && other && rest(other) == count + 2 && rest(twin) == count + 2 && rest(dir) == 0);
	CHECK(lseek(dirfd(dir), 0, SEEK_SET) == 0 && rest(twin) == count + 2);
	/* What a child reads its parent has not to read. */
	rewinddir(dir);
	CHECK(readdir(dir));
	long buffer[512];
	if (fork() == 0) {
		while (syscall(SYS_getdents64, dirfd(dir), buffer, sizeof buffer) > 0) {}
		_exit(errno);
	}
	int status;
	CHECK(wait(&status) > 0 && status == 0);
	CHECK(syscall(SYS_getdents64, dirfd(dir), buffer, sizeof buffer) == 0);
	/* Threads, and signals that interrupt. */
	struct sigaction action = { .sa_handler = tick };
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
	CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
	pthread_t threads[4];
	for (int thread = 0; thread < 4; thread++) CHECK(pthread_create(&threads[thread], NULL, again, NULL) == 0);
	for (int thread = 0; thread < 4; thread++) CHECK(pthread_join(threads[thread], NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	/* What the kernel refuses. */
	rewinddir(other);
	CHECK(syscall(SYS_getdents64, dirfd(other), buffer, 8) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_getdents64, -1, buffer, sizeof buffer) == -1 && errno == EBADF);
	int file = open("file-0", O_RDONLY), pipes[2];
	CHECK(syscall(SYS_getdents64, file, buffer, sizeof buffer) == -1 && errno == ENOTDIR);
	CHECK(pipe(pipes) == 0 && syscall(SYS_getdents64, pipes[0], buffer, sizeof buffer) == -1 && errno == ENOTDIR);
	/* Files that are made and removed while the directory is read; also the one that a position stands before. */
	rewinddir(dir);
	int removed = 0;
	long before = telldir(dir);
	for (errno = 0; (entry = readdir(dir)); before = telldir(dir)) {
		if (!strncmp(entry->d_name, "file-", 5)) {
			CHECK(unlink(entry->d_name) == 0);
			if (removed++ % 16 == 0) {
				CHECK(close(open("new", O_CREAT | O_WRONLY, 0644)) == 0);
				seekdir(dir, before);
			}
		}
	}
	CHECK(errno == 0 && removed == count);
	CHECK(unlink("new") == 0 && chdir("..") == 0 && rmdir("d") == 0);
	return 0;
}
