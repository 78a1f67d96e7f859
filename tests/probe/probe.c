// What can be done from where this runs: one line a thing, `group.name: result`.
//
// A static program without needs of its own, for any sandbox: `cc -static -O1 -o probe probe.c`. Every trial is
// made in a child, so that it spoils the next as little as can be. A result is `ok`, the name of an error, the signal that ended
// the trial, or a value. Words given as NAME=VALUE are things of the host that should be out of reach:
//   abstract=NAME  an abstract socket that listens      tcp=PORT  a port of 127.0.0.1 that listens
//   pid=NUMBER     a process of the host, same user     key=NAME  a key of the caller's session keyring
// `probe with-bait COMMAND...` makes all of these, runs the command with these words at its end, and ends as it does.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static char **arguments;

static const char *argument(const char *name) {
  size_t n = strlen(name);
  for (char **word = arguments; *word; word++)
    if (!strncmp(*word, name, n) && (*word)[n] == '=') return *word + n + 1;
  return NULL;
}

static void say(const char *group, const char *name, const char *result) { printf("%s.%s: %s\n", group, name, result); }

// Not an error: a call that reports success and has done nothing, as fake root has it.
enum { FAKED = 9999 };

static const char *error_name(int error) {
  static char text[32];
  if (error == FAKED) return "said to be ok";
  const char *name = strerrorname_np(error);
  if (name && error == EOPNOTSUPP) return "EOPNOTSUPP";
  if (!name) {
    snprintf(text, sizeof text, "error %d", error);
    name = text;
  }
  return name;
}

typedef long trial(long, long, long, long, long, long);

// Makes the trial in a child of its own; it answers -1 and errno, or something else for success.
static void attempt(const char *group, const char *name, trial *trial, long a, long b, long c, long d, long e, long f) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) exit(2);
  fflush(stdout);
  pid_t child = fork();
  if (!child) {
    close(ends[0]);
    alarm(5);
    errno = 0;
    int error = trial(a, b, c, d, e, f) == -1 ? errno : 0;
    if (write(ends[1], &error, sizeof error) < 0) _exit(1);
    _exit(0);
  }
  close(ends[1]);
  int error = 0, status = 0;
  ssize_t n = read(ends[0], &error, sizeof error);
  close(ends[0]);
  waitpid(child, &status, 0);
  char text[64];
  if (n == sizeof error) snprintf(text, sizeof text, "%s", error ? error_name(error) : "ok");
  else if (WIFSIGNALED(status)) snprintf(text, sizeof text, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
  else if (WEXITSTATUS(status) == 0) strcpy(text, "ok"); // another program was executed
  else snprintf(text, sizeof text, "exited with %d", WEXITSTATUS(status));
  say(group, name, text);
}

static long nr; // of raw()
static long raw(long a, long b, long c, long d, long e, long f) { return syscall(nr, a, b, c, d, e, f); }

static void call(const char *group, const char *name, long number, long a, long b, long c, long d, long e) {
  nr = number;
  attempt(group, name, raw, a, b, c, d, e, 0);
}

#define P(x) ((long)(x))
#ifdef __x86_64__
static long int80(long number, long a, long b, long c, long d, long e) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                   : "memory", "r8", "r9", "r10", "r11");
  if (result < 0 && result > -4096) { errno = (int)-result; return -1; }
  return result;
}
static long int80_clone(long flags, long b, long c, long d, long e, long f) {
  (void)f;
  long child = int80(120, flags | SIGCHLD, b, c, d, e);
  if (!child) _exit(0);
  return child;
}
#endif

// The kinds of namespaces.
static const struct { const char *name; long flag; } KINDS[] = {
  {"user", CLONE_NEWUSER}, {"mnt", CLONE_NEWNS}, {"pid", CLONE_NEWPID}, {"net", CLONE_NEWNET},
  {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP}, {"time", 0x80},
};
enum { N_KINDS = sizeof KINDS / sizeof *KINDS };

static long try_clone(long flags, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  long child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (!child) _exit(0);
  return child;
}
static long try_clone3(long flags, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  unsigned long long arguments[11] = {(unsigned long long)flags};
  arguments[4] = SIGCHLD;
  long child = syscall(435, arguments, 64);
  if (!child) _exit(0);
  return child;
}
static long try_setns(long path, long flag, long c, long d, long e, long f) {
  (void)c, (void)d, (void)e, (void)f;
  int fd = open((const char *)path, O_RDONLY);
  return fd < 0 ? -1 : setns(fd, (int)flag);
}

static void namespaces(void) {
  char name[64], path[64];
  for (int i = 0; i < N_KINDS; i++) {
    snprintf(name, sizeof name, "unshare(%s)", KINDS[i].name);
    call("ns", name, SYS_unshare, KINDS[i].flag, 0, 0, 0, 0);
    if (KINDS[i].flag != 0x80) { // which is part of the exit signal there
      snprintf(name, sizeof name, "clone(%s)", KINDS[i].name);
      attempt("ns", name, try_clone, KINDS[i].flag, 0, 0, 0, 0, 0);
    }
    snprintf(name, sizeof name, "clone3(%s)", KINDS[i].name);
    attempt("ns", name, try_clone3, KINDS[i].flag, 0, 0, 0, 0, 0);
    const char *whose[] = {"self", "1"};
    for (int j = 0; j < 2; j++) {
      snprintf(path, sizeof path, "/proc/%s/ns/%s", whose[j], KINDS[i].name);
      snprintf(name, sizeof name, "setns(%s of %s)", KINDS[i].name, whose[j]);
      attempt("ns", name, try_setns, P(path), KINDS[i].flag, 0, 0, 0, 0);
    }
  }
  call("ns", "unshare(user|mnt)", SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS, 0, 0, 0, 0);
  call("ns", "unshare(files|fs|sysvsem)", SYS_unshare, CLONE_FILES | CLONE_FS | CLONE_SYSVSEM, 0, 0, 0, 0);
  attempt("ns", "clone()", try_clone, 0, 0, 0, 0, 0, 0);
  attempt("ns", "clone3()", try_clone3, 0, 0, 0, 0, 0, 0);
}

static void mounts(void) {
  call("mount", "mount(tmpfs, /tmp)", SYS_mount, P("t"), P("/tmp"), P("tmpfs"), 0, 0);
  call("mount", "mount(proc, /tmp)", SYS_mount, P("p"), P("/tmp"), P("proc"), 0, 0);
  call("mount", "mount(sysfs, /tmp)", SYS_mount, P("s"), P("/tmp"), P("sysfs"), 0, 0);
  call("mount", "mount(cgroup2, /tmp)", SYS_mount, P("c"), P("/tmp"), P("cgroup2"), 0, 0);
  call("mount", "mount(devpts, /tmp)", SYS_mount, P("d"), P("/tmp"), P("devpts"), 0, P("newinstance"));
  call("mount", "mount(mqueue, /tmp)", SYS_mount, P("m"), P("/tmp"), P("mqueue"), 0, 0);
  call("mount", "mount(overlay, /tmp)", SYS_mount, P("o"), P("/tmp"), P("overlay"), 0, P("lowerdir=/etc:/usr"));
  call("mount", "mount(binfmt_misc, /tmp)", SYS_mount, P("b"), P("/tmp"), P("binfmt_misc"), 0, 0);
  call("mount", "mount(bind / to /tmp)", SYS_mount, P("/"), P("/tmp"), 0, MS_BIND, 0);
  call("mount", "mount(remount /)", SYS_mount, 0, P("/"), 0, MS_REMOUNT | MS_BIND, 0);
  call("mount", "mount(remount /sys rw)", SYS_mount, 0, P("/sys"), 0, MS_REMOUNT | MS_BIND, 0);
  call("mount", "mount(remount /proc dev,suid)", SYS_mount, 0, P("/proc"), 0, MS_REMOUNT | MS_BIND, 0);
  call("mount", "mount(shared /)", SYS_mount, 0, P("/"), 0, MS_SHARED | MS_REC, 0);
  call("mount", "umount2(/proc)", SYS_umount2, P("/proc"), MNT_DETACH, 0, 0, 0);
  call("mount", "umount2(/)", SYS_umount2, P("/"), MNT_DETACH, 0, 0, 0);
  call("mount", "pivot_root(/tmp, /tmp)", SYS_pivot_root, P("/tmp"), P("/tmp"), 0, 0, 0);
  call("mount", "chroot(/)", SYS_chroot, P("/"), 0, 0, 0, 0);
  call("mount", "chroot(/tmp)", SYS_chroot, P("/tmp"), 0, 0, 0, 0);
  call("mount", "open_tree(/)", 428, AT_FDCWD, P("/"), 0, 0, 0);
  call("mount", "open_tree(/, clone)", 428, AT_FDCWD, P("/"), 1, 0, 0);
  call("mount", "move_mount()", 429, AT_FDCWD, P("/tmp"), AT_FDCWD, P("/tmp"), 0);
  call("mount", "fsopen(tmpfs)", 430, P("tmpfs"), 0, 0, 0, 0);
  call("mount", "fsconfig(-1)", 431, -1, 6, 0, 0, 0);
  call("mount", "fsmount(-1)", 432, -1, 0, 0, 0, 0);
  call("mount", "fspick(/)", 433, AT_FDCWD, P("/"), 0, 0, 0);
  unsigned long long attributes[4] = {0, 1};
  call("mount", "mount_setattr(/)", 442, AT_FDCWD, P("/"), 0, P(attributes), sizeof attributes);
  call("mount", "open_tree_attr(/, clone)", 467, AT_FDCWD, P("/"), 1, P(attributes), sizeof attributes);
}

static void kernel(void) {
  static unsigned long long zeros[64];
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  call("kernel", "sethostname", SYS_sethostname, P("probe"), 5, 0, 0, 0);
  call("kernel", "setdomainname", SYS_setdomainname, P("probe"), 5, 0, 0, 0);
  call("kernel", "add_key", SYS_add_key, P("user"), P("probe"), P("x"), 1, -3);
  call("kernel", "request_key", SYS_request_key, P("user"), P("nothing"), 0, 0, 0);
  call("kernel", "keyctl(get session keyring)", SYS_keyctl, 0, -3, 0, 0, 0);
  call("kernel", "keyctl(get user keyring)", SYS_keyctl, 0, -4, 0, 0, 0);
  call("kernel", "keyctl(join session keyring)", SYS_keyctl, 1, 0, 0, 0, 0);
  call("kernel", "bpf(map create)", SYS_bpf, 0, P(zeros), 64, 0, 0);
  call("kernel", "bpf(prog load)", SYS_bpf, 5, P(zeros), 64, 0, 0);
  static unsigned event[32] = {1, 112}; // PERF_TYPE_SOFTWARE
  event[2] = 0;
  call("kernel", "perf_event_open(self)", SYS_perf_event_open, P(event), 0, -1, -1, 0);
  call("kernel", "userfaultfd", SYS_userfaultfd, O_CLOEXEC, 0, 0, 0, 0);
  call("kernel", "userfaultfd(user mode only)", SYS_userfaultfd, O_CLOEXEC | 1, 0, 0, 0, 0);
  call("kernel", "io_uring_setup", 425, 1, P(zeros), 0, 0, 0);
  call("kernel", "io_uring_enter", 426, -1, 0, 0, 0, 0);
  call("kernel", "io_uring_register", 427, -1, 0, 0, 0, 0);
  call("kernel", "io_setup", SYS_io_setup, 1, P(zeros + 32), 0, 0, 0);
#ifdef SYS_kexec_load
  call("kernel", "kexec_load", SYS_kexec_load, 0, 0, 0, 0, 0);
#endif
#ifdef SYS_kexec_file_load
  call("kernel", "kexec_file_load", SYS_kexec_file_load, -1, -1, 0, 0, 0);
#endif
  call("kernel", "init_module", SYS_init_module, 0, 0, P(""), 0, 0);
  call("kernel", "finit_module", SYS_finit_module, -1, P(""), 0, 0, 0);
  call("kernel", "delete_module", SYS_delete_module, P("probe"), O_NONBLOCK, 0, 0, 0);
  call("kernel", "reboot(no magic)", SYS_reboot, 1, 2, 3, 0, 0);
  call("kernel", "swapon", SYS_swapon, P("/nothing"), 0, 0, 0, 0);
  call("kernel", "swapoff", SYS_swapoff, P("/nothing"), 0, 0, 0, 0);
  call("kernel", "acct", SYS_acct, P("/nothing"), 0, 0, 0, 0);
  call("kernel", "quotactl(sync)", SYS_quotactl, 0x80000100, 0, 0, 0, 0);
  call("kernel", "quotactl_fd", 443, -1, 0, 0, 0, 0);
  call("kernel", "syslog(read all)", SYS_syslog, 3, P(zeros), 64, 0, 0);
  call("kernel", "syslog(size)", SYS_syslog, 10, 0, 0, 0, 0);
  call("kernel", "settimeofday", SYS_settimeofday, 0, 0, 0, 0, 0);
  call("kernel", "clock_settime", SYS_clock_settime, CLOCK_REALTIME, P(&now), 0, 0, 0);
  call("kernel", "adjtimex(read)", SYS_adjtimex, P(zeros), 0, 0, 0, 0);
  static unsigned adjust[64] = {1};
  call("kernel", "adjtimex(write)", SYS_adjtimex, P(adjust), 0, 0, 0, 0);
  call("kernel", "clock_adjtime(read)", SYS_clock_adjtime, CLOCK_REALTIME, P(zeros), 0, 0, 0);
  call("kernel", "clock_adjtime(write)", SYS_clock_adjtime, CLOCK_REALTIME, P(adjust), 0, 0, 0);
#ifdef __x86_64__
  call("kernel", "iopl", SYS_iopl, 3, 0, 0, 0, 0);
  call("kernel", "ioperm", SYS_ioperm, 0x80, 1, 1, 0, 0);
  call("kernel", "modify_ldt(read)", SYS_modify_ldt, 0, P(zeros), 64, 0, 0);
  call("kernel", "modify_ldt(write)", SYS_modify_ldt, 1, P(zeros), 16, 0, 0);
  call("kernel", "uselib", SYS_uselib, P("/nothing"), 0, 0, 0, 0);
  call("kernel", "sysfs", SYS_sysfs, 3, 0, 0, 0, 0);
  call("kernel", "_sysctl", SYS__sysctl, 0, 0, 0, 0, 0);
#endif
  call("kernel", "lookup_dcookie", SYS_lookup_dcookie, 0, P(zeros), 64, 0, 0);
  call("kernel", "vhangup", SYS_vhangup, 0, 0, 0, 0, 0);
  call("kernel", "nfsservctl", SYS_nfsservctl, 0, 0, 0, 0, 0);
  call("kernel", "fanotify_init", SYS_fanotify_init, 0, 0, 0, 0, 0);
  call("kernel", "fanotify_init(by id)", SYS_fanotify_init, 0x200, 0, 0, 0, 0);
  static struct { unsigned bytes; int type; char handle[128]; } handle = {.bytes = 128};
  int id;
  call("kernel", "name_to_handle_at(/tmp)", SYS_name_to_handle_at, AT_FDCWD, P("/tmp"), P(&handle), P(&id), 0);
  handle.bytes = 8;
  call("kernel", "open_by_handle_at(/tmp)", SYS_open_by_handle_at, AT_FDCWD, P(&handle), O_RDONLY, 0, 0);
  const struct { const char *name; long value; } personalities[] = {
    {"read", 0xffffffff}, {"linux", 0}, {"linux32", 8}, {"no randomize", 0x40000}, {"linux32, no randomize", 0x40008},
    {"read implies exec", 0x400000}, {"mmap page zero", 0x100000}, {"svr4", 0x4100001}, {"uname26", 0x20000},
  };
  for (size_t i = 0; i < sizeof personalities / sizeof *personalities; i++) {
    char name[64];
    snprintf(name, sizeof name, "personality(%s)", personalities[i].name);
    call("kernel", name, SYS_personality, personalities[i].value, 0, 0, 0, 0);
  }
  call("kernel", "move_pages(self)", SYS_move_pages, 0, 0, 0, 0, 0);
  call("kernel", "set_mempolicy(default)", SYS_set_mempolicy, 0, 0, 0, 0, 0);
  call("kernel", "memfd_create", SYS_memfd_create, P("m"), 0, 0, 0, 0);
  call("kernel", "memfd_secret", 447, 0, 0, 0, 0, 0);
  call("kernel", "landlock_create_ruleset(version)", 444, 0, 0, 1, 0, 0);
  unsigned action = 0x7fc00000; // SECCOMP_RET_USER_NOTIF
  call("kernel", "seccomp(is there user notification)", SYS_seccomp, 2, 0, P(&action), 0, 0);
  call("kernel", "a call there is none of", 9999, 0, 0, 0, 0, 0);
}

static pid_t sleeper(void) {
  pid_t child = fork();
  if (!child) { pause(); _exit(0); }
  return child;
}
static long trace_child(long a, long b, long c, long d, long e, long f) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
  pid_t child = sleeper();
  long result = ptrace(PTRACE_SEIZE, child, 0, 0);
  int error = errno;
  kill(child, SIGKILL);
  errno = error;
  return result;
}
static long trace_pid(long pid, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  return ptrace(PTRACE_SEIZE, (pid_t)pid, 0, 0);
}
static char shared_byte = 'x';
static long read_child(long pid, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  char byte = 0;
  pid_t child = pid ? (pid_t)pid : sleeper();
  struct iovec here = {&byte, 1}, there = {&shared_byte, 1};
  long result = process_vm_readv(child, &here, 1, &there, 1, 0);
  int error = errno;
  if (!pid) kill(child, SIGKILL);
  errno = error;
  return result;
}
static long take_fd(long pid, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  int pidfd = (int)syscall(434, pid, 0);
  return pidfd < 0 ? -1 : syscall(438, pidfd, 0, 0);
}
static long fifo_scheduler(long a, long b, long c, long d, long e, long f) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
  struct sched_param parameter = {.sched_priority = 1};
  return sched_setscheduler(0, SCHED_FIFO, &parameter);
}
static long raise_limit(long which, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  struct rlimit limit;
  getrlimit((int)which, &limit);
  if (limit.rlim_max == RLIM_INFINITY) return 0;
  limit.rlim_max++;
  return setrlimit((int)which, &limit);
}
// The limits of a process as they are.
static long set_limits_of(long pid, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  struct rlimit limit;
  if (syscall(SYS_prlimit64, pid, RLIMIT_NOFILE, 0, &limit)) return -1;
  return syscall(SYS_prlimit64, pid, RLIMIT_NOFILE, &limit, 0);
}
// With 0 the kernel starts the host's handler of cores. EALREADY: it seems to succeed, and nothing changes.
static long changes_core(long a, long b, long c, long d, long e, long f) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
  struct rlimit before, none = {0, 0}, after;
  getrlimit(RLIMIT_CORE, &before);
  if (setrlimit(RLIMIT_CORE, &none)) return -1;
  getrlimit(RLIMIT_CORE, &after);
  errno = EALREADY;
  return before.rlim_max == after.rlim_max ? -1 : 0;
}

static void processes(void) {
  const char *host = argument("pid");
  attempt("process", "ptrace(child)", trace_child, 0, 0, 0, 0, 0, 0);
  attempt("process", "ptrace(1)", trace_pid, 1, 0, 0, 0, 0, 0);
  attempt("process", "process_vm_readv(child)", read_child, 0, 0, 0, 0, 0, 0);
  attempt("process", "process_vm_readv(1)", read_child, 1, 0, 0, 0, 0, 0);
  call("process", "kcmp(self)", SYS_kcmp, getpid(), getpid(), 0, 0, 0);
  call("process", "kcmp(self, 1)", SYS_kcmp, getpid(), 1, 0, 0, 0);
  call("process", "pidfd_open(1)", 434, 1, 0, 0, 0, 0);
  attempt("process", "pidfd_getfd(1)", take_fd, 1, 0, 0, 0, 0, 0);
  call("process", "kill(1, 0)", SYS_kill, 1, 0, 0, 0, 0);
  call("process", "kill(parent, 0)", SYS_kill, getppid(), 0, 0, 0, 0);
  call("process", "getsid(1)", SYS_getsid, 1, 0, 0, 0, 0);
  call("process", "prlimit64(1)", SYS_prlimit64, 1, RLIMIT_NOFILE, 0, 0, 0);
  attempt("process", "set limits of 1", set_limits_of, 1, 0, 0, 0, 0, 0);
  call("process", "setpriority(1)", SYS_setpriority, PRIO_PROCESS, 1, 10, 0, 0);
  if (host) {
    call("process", "kill(host's, 0)", SYS_kill, atol(host), 0, 0, 0, 0);
    attempt("process", "ptrace(host's)", trace_pid, atol(host), 0, 0, 0, 0, 0);
  }
  call("process", "setpriority(-5)", SYS_setpriority, PRIO_PROCESS, 0, -5, 0, 0);
  call("process", "ioprio_set(realtime)", SYS_ioprio_set, 1, 0, 1 << 13, 0, 0);
  attempt("process", "sched_setscheduler(fifo)", fifo_scheduler, 0, 0, 0, 0, 0, 0);
  attempt("process", "raise RLIMIT_NOFILE", raise_limit, RLIMIT_NOFILE, 0, 0, 0, 0, 0);
  attempt("process", "raise RLIMIT_CORE", raise_limit, RLIMIT_CORE, 0, 0, 0, 0, 0);
  attempt("process", "change RLIMIT_CORE in truth", changes_core, 0, 0, 0, 0, 0, 0);
}

static long make_and(long what, long b, long c, long d, long e, long f);
enum { CHMOD_SUID = 1, CHMOD_SGID, CHMOD_STICKY, FCHMOD_SUID, FCHMODAT_SUID, FCHMODAT2_SUID, CHOWN_0, CHOWN_SOME, CHOWN_SELF,
  XATTR_CAP, XATTR_TRUSTED, XATTR_USER, XATTR_SECURITY, OPEN_SUID, SETFLAGS };
static long make_and(long what, long directory, long c, long d, long e, long f) {
  (void)c, (void)d, (void)e, (void)f;
  char path[256];
  snprintf(path, sizeof path, "%s/probe-%d", (const char *)directory, getpid());
  int fd = open(path, O_CREAT | O_RDWR | O_EXCL, what == OPEN_SUID ? 04755 : 0644);
  if (fd < 0) return -1;
  unsigned char capability[20] = {1, 0, 0, 2, 0, 4};
  long result = -1;
  struct stat made;
  int flags = 0x20; // FS_APPEND_FL
  errno = 0;
  switch (what) {
  case CHMOD_SUID: result = chmod(path, 04755); break;
  case CHMOD_SGID: result = chmod(path, 02755); break;
  case CHMOD_STICKY: result = chmod(path, 01755); break;
  case FCHMOD_SUID: result = fchmod(fd, 04755); break;
  case FCHMODAT_SUID: result = fchmodat(AT_FDCWD, path, 04755, 0); break;
  case FCHMODAT2_SUID: result = syscall(452, AT_FDCWD, path, 04755, 0); break;
  case CHOWN_0: result = chown(path, 0, 0); break;
  case CHOWN_SOME:
    result = chown(path, 12345, 12345);
    if (!result && (stat(path, &made) || made.st_uid != 12345)) result = -1, errno = FAKED;
    break;
  case CHOWN_SELF: result = chown(path, getuid(), getgid()); break;
  case XATTR_CAP:
    result = setxattr(path, "security.capability", capability, sizeof capability, 0);
    if (!result && getxattr(path, "security.capability", NULL, 0) <= 0) result = -1, errno = FAKED;
    break;
  case XATTR_TRUSTED: result = setxattr(path, "trusted.probe", "x", 1, 0); break;
  case XATTR_USER: result = setxattr(path, "user.probe", "x", 1, 0); break;
  case XATTR_SECURITY: result = setxattr(path, "security.probe", "x", 1, 0); break;
  case OPEN_SUID:
    result = fstat(fd, &made);
    if (!result && !(made.st_mode & S_ISUID)) result = -1, errno = ENODATA;
    break;
  case SETFLAGS: result = ioctl(fd, _IOW('f', 2, long), &flags); break;
  }
  int error = errno;
  unlink(path);
  errno = error;
  return result;
}
static long make_node(long mode, long device, long directory, long d, long e, long f) {
  (void)d, (void)e, (void)f;
  char path[256];
  snprintf(path, sizeof path, "%s/node-%d", (const char *)directory, getpid());
  struct stat made;
  long result = mknod(path, (mode_t)mode, (dev_t)device);
  int error = errno;
  if (!result && (lstat(path, &made) || (made.st_mode & S_IFMT) != ((mode_t)mode & S_IFMT))) result = -1, error = FAKED;
  unlink(path);
  errno = error;
  return result;
}
static long raise_capability(long number, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  unsigned header[2] = {0x20080522, 0}, data[6];
  if (syscall(SYS_capget, header, data)) return -1;
  data[0] |= 1U << number;
  data[1] |= 1U << number;
  long result = syscall(SYS_capset, header, data);
  if (!result && (syscall(SYS_capget, header, data) || !(data[0] & 1U << number))) result = -1, errno = FAKED;
  return result;
}

static void powers(void) {
  const char *directories[] = {"/tmp", "."};
  const struct { const char *name; long what; } files[] = {
    {"chmod(u+s)", CHMOD_SUID}, {"chmod(g+s)", CHMOD_SGID}, {"chmod(+t)", CHMOD_STICKY}, {"fchmod(u+s)", FCHMOD_SUID},
    {"fchmodat(u+s)", FCHMODAT_SUID}, {"fchmodat2(u+s)", FCHMODAT2_SUID}, {"open(u+s)", OPEN_SUID}, {"chown(0)", CHOWN_0},
    {"chown(12345)", CHOWN_SOME}, {"chown(self)", CHOWN_SELF}, {"setxattr(security.capability)", XATTR_CAP},
    {"setxattr(trusted)", XATTR_TRUSTED}, {"setxattr(user)", XATTR_USER}, {"setxattr(security)", XATTR_SECURITY},
    {"chattr(+a)", SETFLAGS},
  };
  const struct { const char *name; mode_t mode; dev_t device; } nodes[] = {
    {"mknod(fifo)", S_IFIFO, 0}, {"mknod(socket)", S_IFSOCK, 0}, {"mknod(null)", S_IFCHR, makedev(1, 3)},
    {"mknod(mem)", S_IFCHR, makedev(1, 1)}, {"mknod(sda)", S_IFBLK, makedev(8, 0)}, {"mknod(whiteout)", S_IFCHR, 0},
  };
  for (int where = 0; where < 2; where++) {
    char name[64];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
      snprintf(name, sizeof name, "%s in %s", files[i].name, where ? "the working directory" : "/tmp");
      attempt("file", name, make_and, files[i].what, P(directories[where]), 0, 0, 0, 0);
    }
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
      snprintf(name, sizeof name, "%s in %s", nodes[i].name, where ? "the working directory" : "/tmp");
      attempt("file", name, make_node, nodes[i].mode | 0644, (long)nodes[i].device, P(directories[where]), 0, 0, 0);
    }
  }
  gid_t groups[1] = {0};
  call("power", "setuid(0)", SYS_setuid, 0, 0, 0, 0, 0);
  call("power", "setuid(12345)", SYS_setuid, 12345, 0, 0, 0, 0);
  call("power", "setgid(0)", SYS_setgid, 0, 0, 0, 0, 0);
  call("power", "setresuid(0, 0, 0)", SYS_setresuid, 0, 0, 0, 0, 0);
  call("power", "setgroups(0)", SYS_setgroups, 1, P(groups), 0, 0, 0);
  call("power", "setgroups()", SYS_setgroups, 0, 0, 0, 0, 0);
  attempt("power", "capset(+sys_admin)", raise_capability, 21, 0, 0, 0, 0, 0);
  attempt("power", "capset(+chown)", raise_capability, 0, 0, 0, 0, 0, 0);
  call("power", "prctl(no_new_privs off)", SYS_prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
  call("power", "prctl(securebits 0)", SYS_prctl, PR_SET_SECUREBITS, 0, 0, 0, 0);
  call("power", "prctl(keepcaps)", SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
}

static long steal_terminal(long request, long argument, long c, long d, long e, long f) {
  (void)c, (void)d, (void)e, (void)f;
  setsid();
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  int zero = 0;
  char name[32];
  unsigned number;
  if (master < 0 || ioctl(master, TIOCSPTLCK, &zero) || ioctl(master, TIOCGPTN, &number)) return -1;
  snprintf(name, sizeof name, "/dev/pts/%u", number);
  int slave = open(name, O_RDWR);
  if (slave < 0 || (ioctl(slave, TIOCSCTTY, 0) && errno != EPERM)) return -1;
  errno = 0;
  return syscall(SYS_ioctl, slave, request, argument);
}

static void terminals(void) {
  static char letter = 'x';
  static int discipline = 2;
  static char subcode = 2;
  const struct { const char *name; long request; void *argument; } requests[] = {
    {"TIOCSTI", 0x5412, &letter}, {"TIOCSTI, high bits", 0x100005412, &letter}, {"TIOCLINUX", 0x541c, &subcode},
    {"TIOCLINUX, high bits", 0x7fffffff0000541c, &subcode}, {"TIOCSETD", 0x5423, &discipline}, {"TIOCCONS", 0x541d, NULL},
  };
  char name[64];
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
    snprintf(name, sizeof name, "%s on a terminal of its own", requests[i].name);
    attempt("terminal", name, steal_terminal, requests[i].request, P(requests[i].argument), 0, 0, 0, 0);
    for (int fd = 0; fd < 3; fd++) {
      snprintf(name, sizeof name, "%s on %d", requests[i].name, fd);
      if (requests[i].request != 0x5423 && requests[i].request != 0x5412) // which would disturb a terminal that is used
        call("terminal", name, SYS_ioctl, fd, requests[i].request, P(requests[i].argument), 0, 0);
    }
  }
}

static long connect_to(long address, long size, long c, long d, long e, long f) {
  (void)c, (void)d, (void)e, (void)f;
  const struct sockaddr *to = (const struct sockaddr *)address;
  int fd = socket(to->sa_family, SOCK_STREAM, 0);
  return fd < 0 ? -1 : connect(fd, to, (socklen_t)size);
}
static long bind_to(long address, long size, long c, long d, long e, long f) {
  (void)c, (void)d, (void)e, (void)f;
  const struct sockaddr *to = (const struct sockaddr *)address;
  int fd = socket(to->sa_family, SOCK_STREAM, 0);
  return fd < 0 || bind(fd, to, (socklen_t)size) ? -1 : listen(fd, 1);
}
static long loopback_down(long a, long b, long c, long d, long e, long f) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
  struct ifreq request = {.ifr_name = "lo"};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request)) return -1;
  return ioctl(fd, SIOCSIFFLAGS, &request); // as they are
}
static long pair(long family, long type, long c, long d, long e, long f) {
  (void)c, (void)d, (void)e, (void)f;
  int fds[2];
  return socketpair((int)family, (int)type, 0, fds);
}

static void sockets(void) {
  const struct { const char *name; int family, type, protocol; } kinds[] = {
    {"unix stream", AF_UNIX, SOCK_STREAM, 0}, {"unix dgram", AF_UNIX, SOCK_DGRAM, 0},
    {"inet stream", AF_INET, SOCK_STREAM, 0}, {"inet dgram", AF_INET, SOCK_DGRAM, 0}, {"inet raw", AF_INET, SOCK_RAW, 1},
    {"inet ping", AF_INET, SOCK_DGRAM, 1}, {"inet sctp", AF_INET, SOCK_STREAM, 132}, {"inet mptcp", AF_INET, SOCK_STREAM, 262},
    {"inet udplite", AF_INET, SOCK_DGRAM, 136}, {"inet dccp", AF_INET, 6, 33},
    {"inet6 stream", AF_INET6, SOCK_STREAM, 0}, {"inet6 raw", AF_INET6, SOCK_RAW, 58},
    {"netlink route", AF_NETLINK, SOCK_RAW, 0}, {"netlink usersock", AF_NETLINK, SOCK_RAW, 2}, {"netlink sock_diag", AF_NETLINK, SOCK_RAW, 4},
    {"netlink xfrm", AF_NETLINK, SOCK_RAW, 6}, {"netlink selinux", AF_NETLINK, SOCK_RAW, 7}, {"netlink iscsi", AF_NETLINK, SOCK_RAW, 8},
    {"netlink audit", AF_NETLINK, SOCK_RAW, 9}, {"netlink fib_lookup", AF_NETLINK, SOCK_RAW, 10}, {"netlink connector", AF_NETLINK, SOCK_RAW, 11},
    {"netlink netfilter", AF_NETLINK, SOCK_RAW, 12}, {"netlink uevent", AF_NETLINK, SOCK_RAW, 15}, {"netlink generic", AF_NETLINK, SOCK_RAW, 16},
    {"netlink rdma", AF_NETLINK, SOCK_RAW, 20}, {"netlink crypto", AF_NETLINK, SOCK_RAW, 21},
    {"packet", AF_PACKET, SOCK_RAW, 0}, {"packet dgram", AF_PACKET, SOCK_DGRAM, 0}, {"vsock", AF_VSOCK, SOCK_STREAM, 0}, {"alg", AF_ALG, SOCK_SEQPACKET, 0},
    {"bluetooth", AF_BLUETOOTH, SOCK_RAW, 1}, {"can", AF_CAN, SOCK_RAW, 1}, {"xdp", AF_XDP, SOCK_RAW, 0}, {"tipc", AF_TIPC, SOCK_DGRAM, 0},
    {"rds", AF_RDS, SOCK_SEQPACKET, 0}, {"key", AF_KEY, SOCK_RAW, 2}, {"pppox", AF_PPPOX, SOCK_DGRAM, 0}, {"ax25", AF_AX25, SOCK_DGRAM, 0},
    {"ipx", AF_IPX, SOCK_DGRAM, 0}, {"appletalk", AF_APPLETALK, SOCK_DGRAM, 0}, {"x25", AF_X25, SOCK_SEQPACKET, 0}, {"netrom", AF_NETROM, SOCK_SEQPACKET, 0},
    {"rose", AF_ROSE, SOCK_SEQPACKET, 0}, {"llc", AF_LLC, SOCK_DGRAM, 0}, {"mpls", AF_MPLS, SOCK_DGRAM, 0}, {"kcm", AF_KCM, SOCK_DGRAM, 0},
    {"qipcrtr", AF_QIPCRTR, SOCK_DGRAM, 0}, {"smc", AF_SMC, SOCK_STREAM, 0}, {"nfc", AF_NFC, SOCK_RAW, 0}, {"caif", AF_CAIF, SOCK_STREAM, 0},
    {"phonet", AF_PHONET, SOCK_DGRAM, 0}, {"ieee802154", AF_IEEE802154, SOCK_DGRAM, 0}, {"rxrpc", AF_RXRPC, SOCK_DGRAM, 0}, {"atm", AF_ATMPVC, SOCK_DGRAM, 0},
    {"isdn", AF_ISDN, SOCK_RAW, 0}, {"mctp", 45, SOCK_DGRAM, 0},
  };
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    call("socket", kinds[i].name, SYS_socket, kinds[i].family, kinds[i].type, kinds[i].protocol, 0, 0);
  attempt("socket", "pair unix", pair, AF_UNIX, SOCK_STREAM, 0, 0, 0, 0);
  attempt("socket", "pair vsock", pair, AF_VSOCK, SOCK_STREAM, 0, 0, 0, 0);
  attempt("socket", "pair tipc", pair, AF_TIPC, SOCK_SEQPACKET, 0, 0, 0, 0);
  attempt("socket", "loopback's flags", loopback_down, 0, 0, 0, 0, 0, 0);
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  attempt("socket", "listen on 127.0.0.1", bind_to, P(&local), sizeof local, 0, 0, 0, 0);
  local.sin_port = htons(80);
  attempt("socket", "listen on port 80", bind_to, P(&local), sizeof local, 0, 0, 0, 0);
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0probe"};
  attempt("socket", "listen on an abstract name", bind_to, P(&name), offsetof(struct sockaddr_un, sun_path) + 6, 0, 0, 0, 0);
  if (argument("tcp")) {
    local.sin_port = htons((unsigned short)atoi(argument("tcp")));
    attempt("socket", "connect to the host's 127.0.0.1", connect_to, P(&local), sizeof local, 0, 0, 0, 0);
  }
  if (argument("abstract")) {
    size_t length = strlen(argument("abstract"));
    memcpy(name.sun_path + 1, argument("abstract"), length);
    attempt("socket", "connect to an abstract name of the host", connect_to, P(&name),
            (long)(offsetof(struct sockaddr_un, sun_path) + 1 + length), 0, 0, 0, 0);
  }
}

#ifdef __x86_64__
static void other_tables(void) {
  char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  strcpy(low, "/tmp");
  strcpy(low + 64, "tmpfs");
  memset(low + 128, 0, 512);
  const struct { const char *name; long number, a, b, c, d, e; } old[] = {
    {"getpid", 20, 0, 0, 0, 0, 0}, {"mount", 21, P(low + 64), P(low), P(low + 64), 0, 0}, {"umount", 22, P(low), 0, 0, 0, 0},
    {"umount2", 52, P(low), 2, 0, 0, 0}, {"chroot", 61, P(low), 0, 0, 0, 0}, {"pivot_root", 217, P(low), P(low), 0, 0, 0},
    {"unshare(user)", 310, CLONE_NEWUSER, 0, 0, 0, 0}, {"unshare(mnt)", 310, CLONE_NEWNS, 0, 0, 0, 0}, {"setns", 346, -1, 0, 0, 0, 0},
    {"clone3", 435, P(low + 128), 64, 0, 0, 0}, {"sethostname", 74, P(low), 4, 0, 0, 0}, {"bpf", 357, 0, P(low + 128), 64, 0, 0},
    {"perf_event_open", 336, P(low + 128), 0, -1, -1, 0}, {"userfaultfd", 374, 0, 0, 0, 0, 0}, {"io_uring_setup", 425, 1, P(low + 128), 0, 0, 0},
    {"add_key", 286, P(low), P(low), P(low), 1, -3}, {"request_key", 287, P(low), P(low), 0, 0, 0}, {"keyctl", 288, 0, -3, 0, 0, 0},
    {"kexec_load", 283, 0, 0, 0, 0, 0}, {"init_module", 128, 0, 0, P(low), 0, 0}, {"finit_module", 350, -1, P(low), 0, 0, 0},
    {"delete_module", 129, P(low), 0, 0, 0, 0}, {"reboot", 88, 1, 2, 3, 0, 0}, {"swapon", 87, P(low), 0, 0, 0, 0}, {"swapoff", 115, P(low), 0, 0, 0, 0},
    {"acct", 51, P(low), 0, 0, 0, 0}, {"quotactl", 131, 0x80000100, 0, 0, 0, 0}, {"syslog", 103, 10, 0, 0, 0, 0}, {"settimeofday", 79, 0, 0, 0, 0, 0},
    {"stime", 25, P(low + 128), 0, 0, 0, 0}, {"clock_settime", 264, 0, P(low + 128), 0, 0, 0}, {"clock_settime64", 404, 0, P(low + 128), 0, 0, 0},
    {"iopl", 110, 3, 0, 0, 0, 0}, {"ioperm", 101, 0x80, 1, 1, 0, 0}, {"vm86", 166, 0, 0, 0, 0, 0}, {"vm86old", 113, 0, 0, 0, 0, 0},
    {"modify_ldt", 123, 0, P(low + 128), 64, 0, 0}, {"uselib", 86, P(low), 0, 0, 0, 0}, {"vhangup", 111, 0, 0, 0, 0, 0},
    {"fanotify_init", 338, 0, 0, 0, 0, 0}, {"open_by_handle_at", 342, -1, P(low + 128), 0, 0, 0}, {"open_tree", 428, -100, P(low), 0, 0, 0},
    {"move_mount", 429, -100, P(low), -100, P(low), 0}, {"fsopen", 430, P(low + 64), 0, 0, 0, 0}, {"mount_setattr", 442, -100, P(low), 0, P(low + 128), 32},
    {"chmod(u+s)", 15, P(low + 640), 04755, 0, 0, 0}, {"ioctl(TIOCSTI)", 54, 0, 0x5412, P(low), 0, 0}, {"ioctl(TIOCLINUX)", 54, 0, 0x541c, P(low), 0, 0},
    {"socket(netlink netfilter)", 359, AF_NETLINK, SOCK_RAW, 12, 0, 0}, {"socket(packet)", 359, AF_PACKET, SOCK_RAW, 0, 0, 0},
    {"socket(alg)", 359, AF_ALG, SOCK_SEQPACKET, 0, 0, 0}, {"socket(inet)", 359, AF_INET, SOCK_STREAM, 0, 0, 0},
    {"socketcall(socket, alg)", 102, 1, P(low + 700), 0, 0, 0}, {"socketcall(socket, inet)", 102, 1, P(low + 720), 0, 0, 0},
    {"ptrace(1)", 26, PTRACE_SEIZE, 1, 0, 0, 0}, {"personality(read)", 136, 0xffffffff, 0, 0, 0, 0}, {"personality(svr4)", 136, 0x4100001, 0, 0, 0, 0},
  };
  strcpy(low + 640, "/tmp/probe-file");
  memcpy(low + 700, (int[]){AF_ALG, SOCK_SEQPACKET, 0}, 12);
  memcpy(low + 720, (int[]){AF_INET, SOCK_STREAM, 0}, 12);
  close(open(low + 640, O_CREAT | O_WRONLY, 0644));
  for (size_t i = 0; i < sizeof old / sizeof *old; i++)
    attempt("i386", old[i].name, int80, old[i].number, old[i].a, old[i].b, old[i].c, old[i].d, old[i].e);
  attempt("i386", "clone(user)", int80_clone, CLONE_NEWUSER, 0, 0, 0, 0, 0);
  unlink(low + 640);
  enum { X32 = 0x40000000 };
  call("x32", "getpid", X32 | SYS_getpid, 0, 0, 0, 0, 0);
  call("x32", "mount", X32 | SYS_mount, P("t"), P("/tmp"), P("tmpfs"), 0, 0);
  call("x32", "unshare(user)", X32 | SYS_unshare, CLONE_NEWUSER, 0, 0, 0, 0);
  call("x32", "keyctl", X32 | SYS_keyctl, 0, -3, 0, 0, 0);
  call("x32", "bpf", X32 | SYS_bpf, 0, 0, 0, 0, 0);
  call("x32", "ptrace", X32 | 521, PTRACE_SEIZE, 1, 0, 0, 0);
  call("x32", "ioctl(TIOCSTI)", X32 | 514, 0, 0x5412, P(low), 0, 0);
}
#endif

// Whether a path can be read and written, as far as that can be found out without changing anything.
static void look(const char *group, const char *path) {
  static char buffer[65536];
  char result[160], written[40];
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    snprintf(result, sizeof result, "%s", error_name(errno));
  } else {
    struct stat found;
    fstat(fd, &found);
    if (S_ISDIR(found.st_mode)) {
      int entries = 0;
      DIR *directory = fdopendir(fd);
      for (struct dirent *entry; (entry = readdir(directory));) entries += entry->d_name[0] != '.';
      snprintf(result, sizeof result, "%s", entries ? "directory" : "empty directory");
      closedir(directory);
    } else {
      struct pollfd ready = {fd, POLLIN, 0};
      poll(&ready, 1, 100);
      ssize_t n = read(fd, buffer, sizeof buffer - 1);
      if (n > 0 && strstr(path, "kallsyms")) {
        buffer[n] = 0;
        snprintf(result, sizeof result, "%s", strspn(buffer, "0") >= 16 ? "zeros" : "addresses");
      } else if (n >= 0) snprintf(result, sizeof result, "%s", n ? "readable" : "empty");
      else snprintf(result, sizeof result, "%s at read", error_name(errno));
      close(fd);
    }
  }
  struct stat found;
  if (!stat(path, &found) && S_ISDIR(found.st_mode)) {
    char inside[256];
    snprintf(inside, sizeof inside, "%s/probe-%d", path, getpid());
    int made = open(inside, O_CREAT | O_WRONLY | O_EXCL, 0600);
    snprintf(written, sizeof written, "%s", made < 0 ? error_name(errno) : "ok");
    if (made >= 0) close(made), unlink(inside);
  } else {
    fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY);
    snprintf(written, sizeof written, "%s", fd < 0 ? error_name(errno) : "ok");
    if (fd >= 0) close(fd);
  }
  if (!strcmp(result, written)) printf("%s.%s: %s\n", group, path, result);
  else printf("%s.%s: %s, to write: %s\n", group, path, result, written);
}

static void paths(void) {
  const char *proc[] = {
    "/proc/kcore", "/proc/kallsyms", "/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats",
    "/proc/sysrq-trigger", "/proc/acpi", "/proc/asound", "/proc/scsi", "/proc/interrupts", "/proc/softirqs", "/proc/irq", "/proc/bus", "/proc/fs",
    "/proc/driver", "/proc/tty", "/proc/tty/driver", "/proc/kmsg", "/proc/config.gz", "/proc/modules", "/proc/slabinfo", "/proc/vmallocinfo",
    "/proc/zoneinfo", "/proc/pagetypeinfo", "/proc/buddyinfo", "/proc/kpageflags", "/proc/kpagecount", "/proc/kpagecgroup", "/proc/iomem",
    "/proc/ioports", "/proc/mtrr", "/proc/mdstat", "/proc/partitions", "/proc/diskstats", "/proc/swaps", "/proc/cmdline", "/proc/cpuinfo", "/proc/meminfo",
    "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version", "/proc/vmstat", "/proc/filesystems", "/proc/devices", "/proc/misc", "/proc/crypto",
    "/proc/cgroups", "/proc/dma", "/proc/execdomains", "/proc/fb", "/proc/locks", "/proc/consoles", "/proc/schedstat", "/proc/pressure", "/proc/pressure/cpu",
    "/proc/sysvipc", "/proc/net/unix", "/proc/net/tcp", "/proc/net/dev", "/proc/net/arp", "/proc/net/route", "/proc/mounts", "/proc/self/mountinfo",
    "/proc/sys", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname", "/proc/sys/kernel/osrelease", "/proc/sys/kernel/random/uuid", "/proc/sys/kernel/random/boot_id", "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/ns_last_pid", "/proc/sys/kernel/sysrq", "/proc/sys/kernel/unprivileged_bpf_disabled", "/proc/sys/kernel/shmmax", "/proc/sys/kernel/msgmax",
    "/proc/sys/kernel/sem", "/proc/sys/kernel/cap_last_cap", "/proc/sys/kernel/ngroups_max", "/proc/sys/kernel/core_uses_pid", "/proc/sys/kernel/dmesg_restrict",
    "/proc/sys/kernel/perf_event_paranoid", "/proc/sys/kernel/randomize_va_space", "/proc/sys/kernel/yama/ptrace_scope", "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/max_map_count", "/proc/sys/vm/drop_caches", "/proc/sys/vm/panic_on_oom", "/proc/sys/fs/file-max", "/proc/sys/fs/binfmt_misc",
    "/proc/sys/fs/binfmt_misc/register", "/proc/sys/fs/mqueue/msg_max", "/proc/sys/fs/protected_symlinks", "/proc/sys/fs/suid_dumpable",
    "/proc/sys/user/max_user_namespaces", "/proc/sys/user/max_net_namespaces", "/proc/sys/net/core/somaxconn", "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/ping_group_range", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/dev", "/proc/sys/debug/exception-trace",
    "/proc/1/exe", "/proc/1/environ", "/proc/1/cmdline", "/proc/1/maps", "/proc/1/mem", "/proc/1/root", "/proc/1/cwd", "/proc/1/fd", "/proc/1/fdinfo",
    "/proc/1/task", "/proc/1/ns", "/proc/1/mountinfo", "/proc/1/status", "/proc/1/stat", "/proc/1/stack", "/proc/1/syscall", "/proc/1/auxv", "/proc/1/io",
    "/proc/1/limits", "/proc/1/oom_score_adj", "/proc/1/attr/current", "/proc/1/cgroup", "/proc/1/sched", "/proc/1/timerslack_ns", "/proc/1/uid_map",
    "/proc/self/uid_map", "/proc/self/setgroups", "/proc/self/mem", "/proc/self/exe", "/proc/self/oom_score_adj", "/proc/self/loginuid", "/proc/self/attr/current",
    "/proc/self/attr/exec", "/proc/self/coredump_filter", "/proc/self/pagemap", "/proc/self/stack", "/proc/self/cgroup", "/proc/self/map_files",
  };
  const char *sys[] = {
    "/sys", "/sys/firmware", "/sys/firmware/acpi/tables", "/sys/firmware/dmi/tables/DMI", "/sys/firmware/efi/efivars", "/sys/fs/cgroup",
    "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/memory", "/sys/fs/bpf", "/sys/fs/fuse/connections", "/sys/fs/selinux",
    "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/tracing/trace", "/sys/kernel/security", "/sys/kernel/config", "/sys/kernel/uevent_helper",
    "/sys/kernel/notes", "/sys/kernel/vmcoreinfo", "/sys/kernel/kexec_loaded", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/mm/ksm/run",
    "/sys/power/state", "/sys/power/wake_lock", "/sys/block", "/sys/bus/pci/rescan", "/sys/class/net", "/sys/class/net/lo/mtu", "/sys/class/block", "/sys/class/dmi/id/product_uuid",
    "/sys/class/tty/console/active", "/sys/devices/virtual/powercap", "/sys/devices/system/cpu/online", "/sys/devices/system/cpu/vulnerabilities/meltdown",
    "/sys/devices/system/node/online", "/sys/module", "/sys/module/kernel/parameters/panic", "/sys/hypervisor",
  };
  const char *dev[] = {
    "/dev", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/ttyS0", "/dev/ptmx",
    "/dev/pts", "/dev/pts/0", "/dev/shm", "/dev/mqueue", "/dev/hugepages", "/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/kvm", "/dev/fuse", "/dev/net/tun",
    "/dev/loop-control", "/dev/loop0", "/dev/mapper/control", "/dev/sda", "/dev/vda", "/dev/nvme0", "/dev/dri", "/dev/snd", "/dev/input", "/dev/bus/usb", "/dev/vsock",
    "/dev/vhost-net", "/dev/userfaultfd", "/dev/rtc0", "/dev/watchdog", "/dev/cpu/0/msr", "/dev/uinput", "/dev/uhid", "/dev/hpet", "/dev/log", "/dev/core",
  };
  const char *host[] = {
    "/home", "/root", "/root/.ssh", "/run/user", "/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock", "/run/dbus/system_bus_socket",
    "/run/systemd/private", "/run/systemd/notify", "/run/udev", "/run/lock", "/run/host", "/run/.containerenv", "/.dockerenv", "/tmp/.X11-unix", "/tmp/.ICE-unix", "/var/lib/docker",
    "/var/run/nscd/socket", "/etc/shadow", "/etc/machine-id", "/lib/modules", "/boot", "/mnt", "/media", "/srv", "/opt", "/usr", "/etc/passwd", "/etc/resolv.conf", "/",
  };
  for (size_t i = 0; i < sizeof proc / sizeof *proc; i++) look("proc", proc[i]);
  for (size_t i = 0; i < sizeof sys / sizeof *sys; i++) look("sys", sys[i]);
  for (size_t i = 0; i < sizeof dev / sizeof *dev; i++) look("dev", dev[i]);
  for (size_t i = 0; i < sizeof host / sizeof *host; i++) look("host", host[i]);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void print_sorted(const char *group, const char *name, char **words, size_t count) {
  qsort(words, count, sizeof *words, by_name);
  printf("%s.%s:", group, name);
  for (size_t i = 0; i < count; i++) printf(" %s", words[i]);
  printf("%s\n", count ? "" : " none");
}

static void list(const char *group, const char *path, int numbers) {
  char *words[4096];
  size_t count = 0;
  DIR *directory = opendir(path);
  if (!directory) { say(group, path, error_name(errno)); return; }
  for (struct dirent *entry; (entry = readdir(directory)) && count < 4096;)
    if (entry->d_name[0] != '.' && (numbers || entry->d_name[0] < '0' || entry->d_name[0] > '9')) words[count++] = strdup(entry->d_name);
  closedir(directory);
  char name[64];
  snprintf(name, sizeof name, "list of %s", path);
  print_sorted(group, name, words, count);
}

static void print_file(const char *group, const char *path) {
  char text[256] = "";
  FILE *file = fopen(path, "r");
  if (!file || !fgets(text, sizeof text, file)) { say(group, path, file ? "empty" : error_name(errno)); return; }
  fclose(file);
  char *from = text, *to = text; // columns of blanks become one
  for (; *from && *from != '\n'; from++)
    if (*from != ' ' || (to > text && to[-1] != ' ')) *to++ = *from == '\t' ? ' ' : *from;
  *to = 0;
  say(group, path, text);
}

static void identity(void) {
  char text[4096], line[512];
  snprintf(text, sizeof text, "%d %d %d", getuid(), geteuid(), getgid());
  say("id", "uid, euid, gid", text);
  gid_t groups[256];
  int count = getgroups(256, groups), own = 0, lost = 0, other = 0;
  for (int i = 0; i < count; i++) groups[i] == getgid() ? own++ : groups[i] == 65534 ? lost++ : other++;
  snprintf(text, sizeof text, "%s%s%s%s", own ? "own " : "", lost ? "unmapped " : "", other ? "other " : "", count ? "" : "none");
  say("id", "supplementary groups", strtok(text, "") ? text : "");
  print_file("id", "/proc/self/uid_map");
  print_file("id", "/proc/self/gid_map");
  print_file("id", "/proc/self/setgroups");
  FILE *status = fopen("/proc/self/status", "r");
  const char *wanted[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"};
  while (status && fgets(line, sizeof line, status))
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
      size_t n = strlen(wanted[i]);
      if (!strncmp(line, wanted[i], n) && line[n] == ':') {
        line[strcspn(line, "\n")] = 0;
        say("id", wanted[i], line + n + 2);
      }
    }
  if (status) fclose(status);
  snprintf(text, sizeof text, "%#x", prctl(PR_GET_SECUREBITS));
  say("id", "securebits", text);
  snprintf(text, sizeof text, "%d", prctl(PR_GET_DUMPABLE));
  say("id", "dumpable", text);
  mode_t mask = umask(0);
  umask(mask);
  snprintf(text, sizeof text, "%03o", mask);
  say("id", "umask", text);
  long persona = syscall(SYS_personality, 0xffffffff);
  snprintf(text, sizeof text, "%#lx", persona);
  say("id", "personality", persona < 0 ? error_name(errno) : text);
  errno = 0;
  snprintf(text, sizeof text, "%d", getpriority(PRIO_PROCESS, 0));
  say("id", "nice", text);
  print_file("id", "/proc/self/oom_score_adj");
  print_file("id", "/proc/self/cgroup");
  say("id", "leads its session", getsid(0) == getpid() ? "yes" : getsid(0) ? "no, it is in another's of the sandbox" : "no, it is in the caller's");
  say("id", "leads its process group", getpgrp() == getpid() ? "yes" : getpgrp() ? "no, it is in another's of the sandbox" : "no, it is in the caller's");
  int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
  say("id", "controlling terminal", terminal < 0 ? error_name(errno) : "yes");
  if (terminal >= 0) close(terminal);
  say("id", "parent", getppid() == 1 ? "1" : getppid() ? "another of the sandbox" : "outside");
  char *where = getcwd(text, sizeof text);
  say("id", "working directory", where ? where : error_name(errno));
  struct utsname names;
  uname(&names);
  say("id", "host name", names.nodename);
  say("id", "domain name", names.domainname);
  const struct { const char *name; int which; } limits[] = {
    {"core", RLIMIT_CORE}, {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}, {"stack", RLIMIT_STACK}, {"fsize", RLIMIT_FSIZE}, {"as", RLIMIT_AS},
    {"data", RLIMIT_DATA}, {"cpu", RLIMIT_CPU}, {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"rtprio", RLIMIT_RTPRIO}, {"nice", RLIMIT_NICE},
  };
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
    struct rlimit limit;
    getrlimit(limits[i].which, &limit);
    snprintf(line, sizeof line, "limit %s", limits[i].name);
    snprintf(text, sizeof text, "%lld %lld", limit.rlim_cur == RLIM_INFINITY ? -1LL : (long long)limit.rlim_cur,
             limit.rlim_max == RLIM_INFINITY ? -1LL : (long long)limit.rlim_max);
    say("id", line, text);
  }
  char *words[1024];
  size_t n = 0;
  for (char **pair = environ; *pair && n < 1024; pair++) words[n++] = strndup(*pair, strcspn(*pair, "="));
  print_sorted("id", "environment", words, n);
}

static void descriptors(void) {
  for (int fd = 0; fd < 1024; fd++) {
    char path[64], target[256], name[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) continue;
    target[length] = 0;
    char *bracket = strchr(target, '[');
    if (bracket) *bracket = 0; // pipe:[NUMBER]
    snprintf(name, sizeof name, "%d", fd);
    say("fd", name, target);
  }
}

static void mount_table(void) {
  char line[4096], point[512], options[512], type[64];
  FILE *table = fopen("/proc/self/mountinfo", "r");
  while (table && fgets(line, sizeof line, table)) {
    char *rest = strstr(line, " - ");
    if (!rest || sscanf(line, "%*s %*s %*s %*s %511s %511s", point, options) != 2 || sscanf(rest, " - %63s", type) != 1) continue;
    char name[600], result[700];
    const char *propagation = strstr(line, " shared:") ? ", shared" : strstr(line, " master:") ? ", slave" : "";
    snprintf(name, sizeof name, "at %s", point);
    snprintf(result, sizeof result, "%s %s%s", type, options, propagation);
    say("mounted", name, result);
  }
  if (table) fclose(table);
  list("proc", "/proc", 0);
  list("sys", "/sys", 1);
  list("dev", "/dev", 1);
  list("host", "/", 1);
  list("host", "/run", 1);
  list("host", "/tmp", 1);
  int seen = 0;
  DIR *proc = opendir("/proc");
  for (struct dirent *entry; proc && (entry = readdir(proc));) seen += entry->d_name[0] > '0' && entry->d_name[0] <= '9';
  if (proc) closedir(proc);
  say("process", "how many are seen", seen <= 2 ? "its own and 1" : seen <= 4 ? "a few" : "many");
}

// The program of process 1, which is the launcher: the way of CVE-2019-5736.
static long launcher(long how, long path, long c, long d, long e, long f) {
  (void)c, (void)d, (void)e, (void)f;
  char *words[] = {(char *)path, "--version", NULL};
  int fd;
  switch (how) {
  case 0: return readlink((const char *)path, (char[4096]){0}, 4096);
  case 1: return open((const char *)path, O_RDONLY);
  case 2: return open((const char *)path, O_WRONLY);
  case 3: return open((const char *)path, O_PATH);
  case 4: return chmod((const char *)path, 0755);
  case 5: close(1); return execv((const char *)path, words);
  default:
    fd = open((const char *)path, O_PATH);
    if (fd < 0) return -1;
    char again[64];
    snprintf(again, sizeof again, "/proc/self/fd/%d", fd);
    return open(again, O_WRONLY);
  }
}

static void launchers(void) {
  const char *how[] = {"readlink", "open to read", "open to write", "open as a path", "chmod", "exec", "open as a path, then to write"};
  for (long i = 0; i < 7; i++) {
    char name[64];
    snprintf(name, sizeof name, "%s /proc/1/exe", how[i]);
    attempt("launcher", name, launcher, i, P("/proc/1/exe"), 0, 0, 0, 0);
  }
}

static void keys(void) {
  if (!argument("key")) return;
  char text[64] = "";
  long key = syscall(SYS_keyctl, 10, -3, "user", argument("key"), 0); // KEYCTL_SEARCH
  if (key < 0) { say("key", "found in the caller's session keyring", error_name(errno)); return; }
  say("key", "found in the caller's session keyring", "ok");
  say("key", "read", syscall(SYS_keyctl, 11, key, text, sizeof text) < 0 ? error_name(errno) : "ok"); // KEYCTL_READ
}

static int with_bait(int count, char **command) {
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  socklen_t size = sizeof local;
  int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), unixes = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), length, status;
  if (bind(tcp, (struct sockaddr *)&local, size) || listen(tcp, 9) || getsockname(tcp, (struct sockaddr *)&local, &size)) return 2;
  length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "hermes-probe-%d", getpid());
  if (bind(unixes, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) + (socklen_t)length) || listen(unixes, 9)) return 2;
  if (syscall(SYS_keyctl, 1, 0) < 0 || syscall(SYS_add_key, "user", "probe", "secret", 6, -3) < 0) return 2;
  char **all = calloc((size_t)count + 5, sizeof *all);
  memcpy(all, command, (size_t)count * sizeof *all);
  if (asprintf(&all[count], "tcp=%d", ntohs(local.sin_port)) < 0 || asprintf(&all[count + 1], "abstract=%s", name.sun_path + 1) < 0 ||
      asprintf(&all[count + 2], "pid=%d", getpid()) < 0) return 2;
  all[count + 3] = "key=probe";
  pid_t child = fork();
  if (!child) {
    execvp(all[0], all);
    perror(all[0]);
    _exit(127);
  }
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int count, char **words) {
  arguments = words + 1;
  signal(SIGTTOU, SIG_IGN);
  if (count > 1 && !strcmp(words[1], "--version")) return 0; // where it is process 1 itself
  if (count > 2 && !strcmp(words[1], "with-bait")) return with_bait(count - 2, words + 2);
  identity();
  descriptors();
  namespaces();
  kernel();
  keys();
  processes();
  powers();
  terminals();
  sockets();
  paths();
  mount_table();
  launchers();
  // Where these succeed, they change what the others would find.
#ifdef __x86_64__
  other_tables();
#endif
  mounts();
  return 0;
}
