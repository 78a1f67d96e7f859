//! Integration tests, in one binary so that it is linked once.

#![expect(unreachable_pub, reason = "one binary: what support offers is for its modules")]

mod archives;
mod bad_input;
mod bare;
mod certificates;
mod confine;
mod crash;
mod credentials;
mod crowd;
mod distrust;
mod edges;
mod emulators;
mod explain;
mod fakeroot;
mod faults;
mod fetch;
mod gc;
mod hardening;
mod http;
mod image_config;
mod limits;
mod lock;
mod modes;
mod native;
mod old_hosts;
mod online;
mod platforms;
mod probe;
mod process;
mod proxies;
mod pull;
mod rates;
mod registry;
mod require;
mod resume;
mod roots;
mod run;
mod rungs;
mod sites;
mod slurm;
mod store_verbs;
mod support;
mod terminal;
mod toolchains;
mod verify;
