/* old_kernel WHAT... -- COMMAND: runs COMMAND on a kernel that lacks things, by a seccomp filter that is inherited.
 *
 *   4.18        ENOSYS for the calls that Linux 4.18 has not, EIO for the request of ptrace(2) that it has not
 *   no-overlay  EPERM for the mounting of an overlay, by mount(2) and by fsopen(2); answered by this program, which
 *               reads the type that was asked for (seccomp_unotify(2))
 *   no-links    EPERM for link(2) and linkat(2), as file systems without hard links answer
 *   landlock-1  version 1 for who asks for landlock's; a ruleset that a program makes for that version is then as old
 *   no-userns   EPERM for clone and unshare with CLONE_NEWUSER, and ENOSYS for clone3, as container engines do
 *
 * x86-64 only. The exit status is the command's, 128 + n for signal n.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(__x86_64__)
#error "x86-64 only"
#endif

/* Calls by their numbers, with the version that brought each: headers of the host may be older. */
static const int NEWER_THAN_4_18[] = {
	424, /* pidfd_send_signal 5.1 */
	425, 426, 427, /* io_uring 5.1 */
	428, 429, 430, 431, 432, 433, /* open_tree move_mount fsopen fsconfig fsmount fspick 5.2 */
	434, /* pidfd_open 5.3 */
	435, /* clone3 5.3 */
	436, /* close_range 5.9 */
	437, /* openat2 5.6 */
	438, /* pidfd_getfd 5.6 */
	439, /* faccessat2 5.8 */
	440, /* process_madvise 5.10 */
	441, /* epoll_pwait2 5.11 */
	442, /* mount_setattr 5.12 */
	443, /* quotactl_fd 5.14 */
	444, 445, 446, /* landlock 5.13 */
	447, /* memfd_secret 5.14 */
	448, /* process_mrelease 5.15 */
	449, /* futex_waitv 5.16 */
	450, /* set_mempolicy_home_node 5.17 */
	451, /* cachestat 6.5 */
	452, /* fchmodat2 6.6 */
	453, 454, 455, 456, /* map_shadow_stack futex_* 6.6 6.7 */
	457, 458, /* statmount listmount 6.8 */
	459, 460, 461, /* lsm_* 6.8 */
	462, 463, 464, 465, 466, 467, 468, 469, 470, /* since */
};

enum { LANDLOCK = 444 }; /* landlock_create_ruleset */

static struct sock_filter filter[256];
static unsigned short length;

static void add(unsigned short code, unsigned char yes, unsigned char no, uint32_t k) {
	filter[length++] = (struct sock_filter){ code, yes, no, k };
}

static void load(size_t offset) {
	add(BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

/* Where the word loaded is `value`, answers `action`. */
static void answer(uint32_t value, uint32_t action) {
	add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
	add(BPF_RET | BPF_K, 0, 0, action);
}

/* Where the call is `number`, answers EPERM if its first argument has `flag`. */
static void deny_flag(uint32_t number, uint32_t flag) {
	load(offsetof(struct seccomp_data, nr));
	add(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, number);
	load(offsetof(struct seccomp_data, args[0]));
	add(BPF_JMP | BPF_JSET | BPF_K, 0, 1, flag);
	add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM);
}

static void die(const char *what) {
	perror(what);
	exit(99);
}

static int install(unsigned flags) {
	struct sock_fprog program = { length, filter };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("no_new_privs");
	int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (fd < 0) die("seccomp");
	return fd;
}

/* Whether the call `request` wants an overlay. Its memory is that of a process which waits for the answer. */
static int wants_overlay(const struct seccomp_notif *request) {
	char type[8] = "";
	uint64_t at = request->data.args[request->data.nr == SYS_mount ? 2 : 0];
	struct iovec local = { type, sizeof type }, remote = { (void *)(uintptr_t)at, sizeof type };
	if (!at) return 0;
	/* A type at the very end of a page is read byte by byte. */
	if (process_vm_readv((pid_t)request->pid, &local, 1, &remote, 1, 0) < 0)
		for (size_t n = 0; n < sizeof type; n++) {
			local = (struct iovec){ type + n, 1 };
			remote = (struct iovec){ (void *)(uintptr_t)(at + n), 1 };
			if (process_vm_readv((pid_t)request->pid, &local, 1, &remote, 1, 0) != 1 || !type[n]) break;
		}
	return !memcmp(type, "overlay", 8);
}

static void answer_one(int listener) {
	struct seccomp_notif request = { 0 };
	struct seccomp_notif_resp response = { 0 };
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request)) return; /* who asked is gone */
	response.id = request.id;
	if (request.data.nr == LANDLOCK) {
		if (request.data.args[2] == 1) response.val = 1; /* LANDLOCK_CREATE_RULESET_VERSION */
		else response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	} else if (wants_overlay(&request)) response.error = -EPERM;
	else response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static int send_fd(int socket, int fd) {
	char byte = 0, control[CMSG_SPACE(sizeof fd)] = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	*header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
}

static int receive_fd(int socket) {
	int fd;
	char byte, control[CMSG_SPACE(sizeof fd)];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message)) return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return fd;
}

static pid_t command;

static void pass_on(int signal) {
	if (command > 0) kill(command, signal);
}

/* Answers until the command has ended. What it leaves behind gets ENOSYS from then on. */
static int serve(int listener) {
	int status, passed[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	for (size_t n = 0; n < sizeof passed / sizeof *passed; n++) signal(passed[n], pass_on);
	for (;;) {
		struct pollfd fd = { listener, POLLIN, 0 };
		if (poll(&fd, 1, 10) > 0 && fd.revents & POLLIN) answer_one(listener);
		if (waitpid(command, &status, WNOHANG) == command)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
}

int main(int argc, char **argv) {
	int at = 1, old = 0, overlay = 0, links = 0, userns = 0, landlock = 0, pair[2];
	for (; at < argc && strcmp(argv[at], "--"); at++)
		if (!strcmp(argv[at], "4.18")) old = 1;
		else if (!strcmp(argv[at], "no-overlay")) overlay = 1;
		else if (!strcmp(argv[at], "no-links")) links = 1;
		else if (!strcmp(argv[at], "no-userns")) userns = 1;
		else if (!strcmp(argv[at], "landlock-1")) landlock = 1;
		else return fprintf(stderr, "old_kernel: what is %s?\n", argv[at]), 99;
	if (++at >= argc) return fprintf(stderr, "old_kernel: no command\n"), 99;

	load(offsetof(struct seccomp_data, arch));
	add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
	add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	load(offsetof(struct seccomp_data, nr));
	if (old)
		for (size_t n = 0; n < sizeof NEWER_THAN_4_18 / sizeof *NEWER_THAN_4_18; n++)
			answer((uint32_t)NEWER_THAN_4_18[n], SECCOMP_RET_ERRNO | ENOSYS);
	if (old) {
		add(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, SYS_ptrace);
		load(offsetof(struct seccomp_data, args[0]));
		answer(0x420e, SECCOMP_RET_ERRNO | EIO); /* PTRACE_GET_SYSCALL_INFO 5.3 */
		load(offsetof(struct seccomp_data, nr));
	}
	if (links) {
		answer(SYS_link, SECCOMP_RET_ERRNO | EPERM);
		answer(SYS_linkat, SECCOMP_RET_ERRNO | EPERM);
	}
	if (userns) {
		answer(435, SECCOMP_RET_ERRNO | ENOSYS);
		deny_flag(SYS_clone, CLONE_NEWUSER);
		deny_flag(SYS_unshare, CLONE_NEWUSER);
		load(offsetof(struct seccomp_data, nr));
	}
	add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	install(0);
	if (!overlay && !landlock) {
		execvp(argv[at], argv + at);
		die(argv[at]);
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) die("socketpair");
	command = fork();
	if (command < 0) die("fork");
	if (!command) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		/* A filter more: those that went before answer first where they are stricter. */
		length = 0;
		load(offsetof(struct seccomp_data, nr));
		if (overlay) {
			answer(SYS_mount, SECCOMP_RET_USER_NOTIF);
			answer(430, SECCOMP_RET_USER_NOTIF);
		}
		if (landlock) answer(LANDLOCK, SECCOMP_RET_USER_NOTIF);
		add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
		int listener = install(SECCOMP_FILTER_FLAG_NEW_LISTENER);
		if (send_fd(pair[1], listener)) die("sendmsg");
		close(listener);
		execvp(argv[at], argv + at);
		die(argv[at]);
	}
	close(pair[1]);
	int listener = receive_fd(pair[0]);
	if (listener < 0) return 99;
	return serve(listener);
}
