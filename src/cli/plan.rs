//! `hermes run --plan`, as text.

use std::fmt::{self, Write as _};

use crate::cli::printer::{Print, line};
use crate::commands::run::{MountKind, RunPlan};
use crate::sandbox::{FakeRoot, Feature, Isolation, Network, Profile};
use crate::size;

impl Print for RunPlan {
    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "command")?;
        let words: Vec<_> = self.command.iter().map(ToString::to_string).collect();
        line(out, "run", words.join(" "))?;
        line(out, "directory", self.directory.display())?;
        line(out, "image", format_args!("{} for {}", self.target.reference, self.target.image_platform.name()))?;
        line(out, "manifest", self.manifest)?;
        for output in &self.outputs {
            line(out, "output", output.display())?;
        }
        environment(out, self)?;
        sandbox(out, self)?;
        root(out, self)?;
        filter(out, self)
    }
}

fn environment(out: &mut String, plan: &RunPlan) -> fmt::Result {
    writeln!(out, "\nenvironment")?;
    for variable in &plan.environment {
        let name = variable.name.to_string();
        match variable.recorded() {
            Some(value) => line(out, &name, format_args!("= {value}"))?,
            None => line(out, &name, "passed on from the caller")?,
        }
    }
    Ok(())
}

fn sandbox(out: &mut String, plan: &RunPlan) -> fmt::Result {
    writeln!(out, "\nsandbox")?;
    let isolation = match plan.isolation {
        Isolation::Namespaces => "namespaces",
        Isolation::Landlock => "landlock",
    };
    line(out, "isolation", isolation)?;
    if !plan.namespaces.is_empty() {
        line(out, "namespaces", plan.namespaces.join(", "))?;
    }
    let network = match plan.network {
        Network::None => "loopback only",
        Network::Host => "the host's",
    };
    line(out, "network", network)?;
    let user = &plan.user;
    line(out, "user", format_args!("{}:{}, on the host {}:{}", user.uid, user.gid, user.host_uid, user.host_gid))?;
    if user.profile == Profile::Provision {
        let changes = match user.fake_root {
            FakeRoot::Off => "the kernel decides about changes of ownership",
            FakeRoot::Stateless => "changes of ownership seem to succeed",
            FakeRoot::Stateful => "changes of ownership seem to succeed, and stat shows them",
        };
        line(out, "", changes)?;
    }
    let guest = &plan.guest;
    line(
        out,
        "guest",
        format_args!("host name {}, umask {}, home {}", guest.hostname, guest.umask, guest.home.display()),
    )?;
    if let Some(nproc) = guest.nproc {
        line(out, "processors", nproc)?;
    }
    if let Some(clock) = guest.clock {
        line(out, "clock", clock)?;
    }
    if guest.dir_order.is_some() {
        line(out, "directories", "in reverse order")?;
    }
    if let Some(emulation) = plan.emulation {
        let emulator = plan.emulator.as_ref().map_or_else(
            || "an emulator of the host".to_owned(),
            |emulator| {
                let version = emulator.version.as_deref().unwrap_or("of unknown version");
                format!("QEMU {version}, {}", emulator.digest)
            },
        );
        line(out, "emulation", format_args!("{}: {emulator}", emulation.name()))?;
    }
    if !plan.native_tools.is_empty() {
        line(out, "native tools", plan.native_tools.join(", "))?;
    }
    if !plan.required.is_empty() {
        let names: Vec<_> = plan.required.iter().copied().map(Feature::name).collect();
        line(out, "required", names.join(", "))?;
    }
    limits(out, plan)
}

fn limits(out: &mut String, plan: &RunPlan) -> fmt::Result {
    for (limits, by) in [(plan.limits.cgroup, "together"), (plan.limits.process, "for each process")] {
        if let Some(memory) = limits.memory {
            line(out, "memory", format_args!("{} {by}", size::bytes(memory)))?;
        }
        if let Some(millicpus) = limits.millicpus {
            line(out, "cpus", format_args!("{} {by}", size::thousandths(millicpus)))?;
        }
        if let Some(pids) = limits.pids {
            line(out, "processes", format_args!("{pids} together"))?;
        }
    }
    if let Some(timeout) = plan.timeout {
        line(out, "timeout", format_args!("{} s", timeout.as_secs_f64()))?;
    }
    if let Some(nice) = plan.nice {
        line(out, "nice", nice)?;
    }
    Ok(())
}

fn root(out: &mut String, plan: &RunPlan) -> fmt::Result {
    if let Some(root) = &plan.root {
        writeln!(out, "\nroot")?;
        let place = if root.in_memory { "in memory" } else { "on disk" };
        line(out, "strategy", format_args!("{}; changes are {place}", root.strategy.name()))?;
        for layer in &root.layers {
            line(out, "layer", layer.display())?;
        }
        for file in &root.files {
            line(out, "file", file.display())?;
        }
    }
    writeln!(out, "\n{}", if plan.root.is_some() { "mounts" } else { "paths" })?;
    for mount in &plan.mounts {
        let leads = if mount.kind == MountKind::Link { "to" } else { "from" };
        let source = mount.source.as_ref().map(|source| format!(" {leads} {}", source.display())).unwrap_or_default();
        let mode = if mount.read_only && mount.source.is_some() { " (read-only)" } else { "" };
        line(out, mount.kind.name(), format_args!("{}{source}{mode}", mount.target.display()))?;
    }
    for path in &plan.paths {
        line(out, path.access, path.path.display())?;
    }
    Ok(())
}

fn filter(out: &mut String, plan: &RunPlan) -> fmt::Result {
    let filter = &plan.filter;
    writeln!(out, "\nsystem call filter")?;
    for (name, calls) in [
        ("refused", &filter.refused),
        ("restricted", &filter.restricted),
        ("answered", &filter.answered),
        ("traced", &filter.traced),
    ] {
        if !calls.is_empty() {
            line(out, name, calls.join(" "))?;
        }
    }
    Ok(())
}
