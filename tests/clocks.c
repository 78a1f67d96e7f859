// What time it is, in every way to ask, and waits until a moment; entries of a directory, back and forth. Prints `name seconds`,
// and `bad` where something is not as it should be. For tests/it/guest_overrides.rs; as clocks, static and dynamic.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say(const char *name, long long seconds) { printf("%s %lld\n", name, seconds); }

static void read_clock(const char *name, clockid_t clock) {
    struct timespec now;
    if (clock_gettime(clock, &now) || now.tv_nsec < 0 || now.tv_nsec >= 1000000000) puts("bad clock");
    say(name, now.tv_sec);
}

static void *thread(void *name) {
    read_clock(name, CLOCK_REALTIME);
    return 0;
}

static void on_alarm(int number) { (void)number; }

static struct timespec soon(void) {
    struct timespec when;
    clock_gettime(CLOCK_REALTIME, &when);
    when.tv_nsec += 20000000;
    if (when.tv_nsec >= 1000000000) when.tv_sec++, when.tv_nsec -= 1000000000;
    return when;
}

static int later(struct timespec when) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec > when.tv_sec || (now.tv_sec == when.tv_sec && now.tv_nsec >= when.tv_nsec);
}

static void clocks(void) {
    struct timeval day;
    struct timezone zone = {7, 7};
    read_clock("realtime", CLOCK_REALTIME);
    read_clock("coarse", CLOCK_REALTIME_COARSE);
    read_clock("tai", CLOCK_TAI);
    if (gettimeofday(&day, &zone) || day.tv_usec >= 1000000 || zone.tz_minuteswest == 7) puts("bad day");
    say("day", day.tv_sec);
    time_t there = 0, given = time(&there);
    if (there != given) puts("bad time");
    say("time", given);
#ifdef SYS_clock_gettime
    struct timespec now;
    if (syscall(SYS_clock_gettime, CLOCK_REALTIME, &now)) puts("bad call");
    say("call", now.tv_sec);
    if (syscall(SYS_clock_gettime, CLOCK_REALTIME, 8) != -1 || errno != EFAULT) puts("bad address");
    if (syscall(SYS_clock_gettime, 99, &now) != -1 || errno != EINVAL) puts("bad number");
#endif
    pthread_t other;
    pthread_create(&other, 0, thread, "thread");
    pthread_join(other, 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        read_clock("child", CLOCK_REALTIME);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, 0, 0);
}

static void waits(void) {
    // Each ends once its moment has come, and not before; and leaves the moment as it was.
    struct timespec when = soon(), same = when;
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    if (sem_timedwait(&semaphore, &when) != -1 || errno != ETIMEDOUT || !later(when)) puts("bad semaphore");
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    when = soon();
    pthread_mutex_lock(&mutex);
    if (pthread_cond_timedwait(&condition, &mutex, &when) != ETIMEDOUT || !later(when)) puts("bad condition");
    when = same = soon();
    if (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &when, 0) || !later(when)) puts("bad sleep");
    if (memcmp(&when, &same, sizeof when)) puts("bad moment");
    // A signal ends it sooner, and one without a handler does not.
    when.tv_sec += 3600;
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, 0);
    struct itimerval alarm = {.it_value = {.tv_usec = 20000}};
    setitimer(ITIMER_REAL, &alarm, 0);
    if (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &when, 0) != EINTR) puts("bad interruption");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        when = soon();
        _exit(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &when, 0) || !later(when));
    }
    kill(child, SIGSTOP);
    kill(child, SIGCONT);
    int status;
    waitpid(child, &status, 0);
    if (status) puts("bad continuation");
    // One that was over before it began.
    when.tv_sec = 1;
    if (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &when, 0)) puts("bad past");
    puts("waited");
}

static char names[5000][32];

static void *first_of(void *path) {
    DIR *open = opendir(path);
    struct dirent *entry = readdir(open);
    if (!entry || strcmp(entry->d_name, names[0])) puts("bad thread");
    closedir(open);
    return 0;
}

static void directory(char *path) {
    long places[5000];
    int count = 0;
    DIR *open = opendir(path);
    for (struct dirent *entry; (entry = readdir(open));) {
        strcpy(names[count], entry->d_name);
        places[count++] = telldir(open);
    }
    // From each place on, the rest.
    for (int from = 0; from < count - 1; from += 1 + count / 50) {
        seekdir(open, places[from]);
        struct dirent *entry = readdir(open);
        if (!entry || strcmp(entry->d_name, names[from + 1])) puts("bad place");
    }
    rewinddir(open);
    struct dirent *first = readdir(open);
    if (!first || strcmp(first->d_name, names[0])) puts("bad beginning");
    closedir(open);
    pthread_t other;
    pthread_create(&other, 0, first_of, path);
    pthread_join(other, 0);
    for (int at = 0; at < count; at++) puts(names[at]);
}

int main(int count, char **words) {
    (void)count;
    if (!strcmp(words[1], "clocks")) clocks();
    if (!strcmp(words[1], "waits")) waits();
    if (!strcmp(words[1], "directory")) directory(words[2]);
    return 0;
}
