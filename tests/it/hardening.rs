//! What the sandbox withstands: the list of threats, by their numbers, as far as no other test has them.

use crate::support::world::World;

#[test]
fn t35_a_caller_who_is_root_cannot_write_the_kernels_settings() {
    let Some(world) = World::fixtures() else { return };
    // Who is user 0 of the host owns what lies there, capabilities or not. In a namespace where the caller is
    // called 0 the same is done, though there it would not be needed.
    let script = "grep -E ' /(proc|sys)/' /proc/self/mountinfo | cut -d' ' -f5,6; echo x >/proc/sys/kernel/msgmax";
    let output = world.sh(&[], script).under(&["unshare", "-Ur"]).output();
    let text = output.text();
    assert!(output.stderr.contains("Read-only file system"), "{}", output.stderr);
    for path in ["/proc/sys", "/proc/irq", "/proc/bus", "/sys/firmware", "/sys/fs/bpf"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{path} ro,"))), "{path} is not covered: {text}");
    }
    for path in ["/proc/timer_list", "/proc/keys", "/proc/kmsg"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{path} "))), "{path} is not covered: {text}");
    }
    // An ordinary caller pays for none of it.
    assert_eq!(world.sh(&[], "grep -cE ' /(proc|sys)/' /proc/self/mountinfo").output().text(), "0");
}
