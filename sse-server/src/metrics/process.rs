//! What the process itself takes of the machine, under the names that all exporters have for it.
//!
//! Where there is no `/proc`, what it would tell is left out.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The numbers of this process. They are looked up when somebody asks.
#[derive(Debug)]
pub(super) struct Process {
    /// In seconds since 1970. Reckoned once, since clocks are put right meanwhile.
    start: Option<f64>,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { start: start() }
    }
}

impl Collector for Process {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let cpu = ConstCounter::new(seconds(clock_gettime(ClockId::ProcessCPUTime)));
        let help = "Time that the process has kept processors busy";
        let kind = cpu.metric_type();
        cpu.encode(out.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), kind)?)?;
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(out.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        let (virtual_size, resident) = memory().unzip();
        let help = "Memory that the process has in RAM";
        gauge("process_resident_memory", help, Some(&Unit::Bytes), resident)?;
        let help = "Memory that the process has addresses for";
        gauge("process_virtual_memory", help, Some(&Unit::Bytes), virtual_size)?;
        gauge("process_open_fds", "Open file descriptors", None, open_descriptors())?;
        let most = getrlimit(Resource::Nofile).current.map(float);
        gauge("process_max_fds", "Most file descriptors that may be open", None, most)?;
        let help = "When the process was started, since 1970";
        gauge("process_start_time", help, Some(&Unit::Seconds), self.start)
    }
}

#[allow(clippy::cast_precision_loss, reason = "beyond 2^53 nobody counts bytes or descriptors")]
fn float(number: u64) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "of seconds since 1970, microseconds are left")]
fn seconds(time: Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Bytes of address space and of RAM: the first two numbers of `proc_pid_statm(5)`, in pages.
fn memory() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split_ascii_whitespace().map_while(|number| number.parse::<u64>().ok());
    let page = rustix::param::page_size() as u64;
    Some((float(pages.next()? * page), float(pages.next()? * page)))
}

fn open_descriptors() -> Option<f64> {
    // Reading the folder takes one more.
    let count = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    Some(float(count as u64))
}

/// When this process was started: field 22 of `proc_pid_stat(5)`, in ticks since the machine was.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn start() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, in which there may be anything.
    let (_, rest) = text.rsplit_once(')')?;
    let ticks: u64 = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let after_boot = float(ticks) / float(rustix::param::clock_ticks_per_second());
    let now = seconds(clock_gettime(ClockId::Realtime));
    Some(now - seconds(clock_gettime(ClockId::Boottime)) + after_boot)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn start() -> Option<f64> {
    None
}
