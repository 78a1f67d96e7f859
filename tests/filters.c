// What is refused, before and after a program has added system call filters of its own, and whether these do what they are
// for. Prints `name result`. For tests/it/explain.rs; the argument says which filter: trace, notify, trap, errno.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *when;
static volatile sig_atomic_t signals;

static void say(const char *name, long result) {
    printf("%s %s %ld\n", when, name, result < 0 ? (long)-errno : 0L);
    fflush(stdout);
}

#ifdef __x86_64__
static long narrow(long number, long first, long second, long third) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third), "S"(0), "D"(0)
                     : "memory", "r8", "r9", "r10", "r11");
    if (result >= 0) return result;
    errno = (int)-result;
    return -1;
}
#endif

// In a child, as the kernel may kill for it.
static void by_x32(void) {
    pid_t child = fork();
    if (!child) {
        signal(SIGSYS, SIG_DFL);
        syscall(0x40000000 | SYS_unshare, CLONE_NEWUSER);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    printf("%s x32 %d\n", when, status);
    fflush(stdout);
}

static void trials(void) {
    static char zeros[256];
    say("io_uring_setup", syscall(SYS_io_uring_setup, 8, zeros));
    say("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0, 0, 0));
    say("add_key", syscall(SYS_add_key, "user", "hermes-test", "x", 1, KEY_SPEC_PROCESS_KEYRING));
    say("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
    say("packet", socket(AF_PACKET, SOCK_RAW, 0));
    say("netfilter", socket(AF_NETLINK, SOCK_RAW, 12));
    say("userfaultfd", syscall(SYS_userfaultfd, 1));
    say("unshare", syscall(SYS_unshare, CLONE_NEWUSER));
    say("clone", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    say("clone3", syscall(SYS_clone3, zeros, 64));
    say("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    say("mount", syscall(SYS_mount, "x", "/mnt", "tmpfs", 0, 0));
    say("fanotify_init", syscall(SYS_fanotify_init, 0x200, 0));
    say("personality", syscall(SYS_personality, 0x0400000));
    say("perf_event_open", syscall(SYS_perf_event_open, zeros, 0, -1, -1, 0));
    say("bpf", syscall(SYS_bpf, 0, zeros, sizeof zeros));
    say("chroot", syscall(SYS_chroot, "/tmp"));
    say("TIOCSTI", ioctl(0, 0x5412, "x"));
    say("a call of tomorrow", syscall(800));
#ifdef __x86_64__
    say("modify_ldt", syscall(SYS_modify_ldt, 0, zeros, 16));
    say("narrow mount", narrow(21, 0, 0, 0));
    say("narrow unshare", narrow(310, CLONE_NEWUSER, 0, 0));
    say("narrow keyctl", narrow(288, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
    say("narrow bpf", narrow(357, 0, 0, 0));
    say("narrow socket", narrow(359, AF_VSOCK, SOCK_STREAM, 0));
    by_x32();
#endif
}

static int add(struct sock_filter *filter, size_t length, unsigned long flags) {
    struct sock_fprog program = {(unsigned short)length, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) exit(1);
    int result = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (result < 0) {
        perror("filter");
        exit(1);
    }
    return result;
}

// Answers everything but what a listener needs by continuing, and getppid(2) with 4242.
static void *listens(void *at) {
    int fd = *(int *)at;
    for (;;) {
        struct seccomp_notif heard;
        memset(&heard, 0, sizeof heard);
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &heard)) continue;
        struct seccomp_notif_resp said = {.id = heard.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        if (heard.data.nr == SYS_getppid && heard.data.arch != AUDIT_ARCH_I386) said.val = 4242, said.flags = 0;
        ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &said);
    }
}

static void on_signal(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    if (info->si_code == 1 && info->si_errno == 77) signals++;
}

#define NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ANSWER(k) BPF_STMT(BPF_RET | BPF_K, (k))
#define LET(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), ANSWER(SECCOMP_RET_ALLOW)
#define LET_USUAL \
    LET(SYS_write), LET(SYS_clone), LET(SYS_clone3), LET(SYS_wait4), LET(SYS_exit_group), LET(SYS_rt_sigaction), \
        LET(SYS_rt_sigprocmask), LET(SYS_set_robust_list), LET(SYS_rseq), LET(SYS_futex), LET(SYS_mmap), \
        LET(SYS_mprotect), LET(SYS_munmap), LET(SYS_madvise), LET(SYS_brk), LET(SYS_seccomp), LET(SYS_prctl)
#define OF(array) array, sizeof array / sizeof *array

int main(int count, char **words) {
    const char *which = count > 1 ? words[1] : "";
    when = "before";
    trials();
    when = "after";
    if (!strcmp(which, "trace")) {
        for (unsigned data = 0; data < 3; data++) {
            // Of filters that answer this, the number of the newest one is the tracer's.
            struct sock_filter most[] = {NUMBER, LET_USUAL, ANSWER(SECCOMP_RET_TRACE | (data * 0x4000u))};
            add(OF(most), 0);
        }
    } else if (!strcmp(which, "notify")) {
        static int fd;
        struct sock_filter most[] = {NUMBER, LET(SYS_ioctl), LET_USUAL, ANSWER(SECCOMP_RET_USER_NOTIF)};
        fd = add(OF(most), SECCOMP_FILTER_FLAG_NEW_LISTENER);
        pthread_t thread;
        if (pthread_create(&thread, 0, listens, &fd)) return 1;
        printf("own listener %d\n", getppid());
    } else if (!strcmp(which, "trap")) {
        struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
        sigaction(SIGSYS, &action, 0);
        struct sock_filter one[] = {NUMBER, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
                                    ANSWER(SECCOMP_RET_TRAP | 77), ANSWER(SECCOMP_RET_ALLOW)};
        add(OF(one), 0);
        getppid();
        printf("own signals %d\n", (int)signals);
        // From elsewhere.
        signal(SIGSYS, SIG_IGN);
        raise(SIGSYS);
    } else if (!strcmp(which, "errno")) {
        struct sock_filter one[] = {NUMBER, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
                                    ANSWER(SECCOMP_RET_ERRNO | ENOTTY), ANSWER(SECCOMP_RET_ALLOW)};
        add(OF(one), 0);
        errno = 0;
        syscall(SYS_getppid);
        printf("own errno %d\n", errno);
    }
    trials();
}
