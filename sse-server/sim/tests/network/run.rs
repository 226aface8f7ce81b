//! One run: everything begins, the network fails and heals, and what arrives is looked at.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sse_server::simulation::Simulation;
use turmoil::Sim;

use crate::parties::{client_name, publish, read, serve, server_name};
use crate::plan::{CALM, Millis, Plan, SERVERS, Trouble, Way, What};
use crate::wire::Link;
use crate::world::World;

/// How far time goes in one step.
const TICK: Millis = 20;

/// How long it may take until connections that nobody has any more are closed.
const CLOSED: Millis = 35_000;

/// What a run has come to.
pub(crate) struct Report {
    pub(crate) violation: Option<String>,
    pub(crate) lines: Vec<String>,
    pub(crate) delivered: u64,
    pub(crate) connections: u64,
    pub(crate) simulated: Millis,
}

/// Runs a seed, with this fault in the server.
pub(crate) fn run(seed: u64, mutant: Option<&'static str>) -> Report {
    let _simulation = Simulation::begin(seed, mutant);
    let world = World::new(Plan::of(seed));
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(TICK))
        .simulation_duration(Duration::from_hours(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(100))
        .tcp_capacity(1 << 16);
    let mut sim = builder.build();
    for server in 0..SERVERS {
        let world = world.clone();
        sim.host(server_name(server), move || serve(world.clone(), server));
    }
    for client in 0..world.plan.clients() {
        let (readers, world) = (world.plan.readers, world.clone());
        match client.checked_sub(readers) {
            None => sim.client(client_name(client), read(world, client)),
            Some(publisher) => sim.client(client_name(client), publish(world, publisher)),
        }
    }
    let simulated = drive(&mut sim, &world);
    drop(sim);
    let (lines, violation, delivered, connections) = world.take();
    Report { violation, lines, delivered, connections, simulated }
}

/// Goes through the plan, and to the end.
fn drive(sim: &mut Sim<'_>, world: &Arc<World>) -> Millis {
    let plan = &world.plan;
    let mut now = 0;
    let mut step = |sim: &mut Sim<'_>, until: Millis| {
        while now < until && !world.is_violated() {
            sim.step().expect("no party fails");
            now += TICK;
        }
        now
    };
    let mut changes: Vec<(Millis, bool, &Trouble)> = Vec::new();
    for trouble in &plan.troubles {
        changes.extend([(trouble.at, true, trouble), (trouble.until, false, trouble)]);
    }
    changes.sort_by_key(|(at, ..)| *at);
    for (at, is_on, trouble) in changes {
        let now = step(sim, at);
        let what = trouble.what;
        world.note(now, format_args!("** {}{what}", if is_on { "" } else { "no longer: " }));
        trouble_with(sim, world, what, is_on);
    }
    step(sim, plan.calm() + CALM);
    if !world.is_violated() {
        futures_util::FutureExt::now_or_never(world.finish()).expect("memory answers at once");
    }
    world.is_over.store(true, Ordering::Relaxed);
    let end = step(sim, plan.calm() + CALM + CLOSED);
    if world.open() > 0 {
        world.note(end, format_args!("{} connections are open", world.open()));
        world.violated("connections that nobody has are closed");
    }
    end
}

/// Begins something, or ends it.
fn trouble_with(sim: &mut Sim<'_>, world: &World, what: What, is_on: bool) {
    let name = server_name(what.server());
    let on_link = |client: usize| (client_name(client), &*name);
    let set = |client: usize, ways: [bool; 2], link: Link| {
        let client = sim.lookup(client_name(client));
        let server = sim.lookup(&*name);
        let link = if is_on { link } else { Link::default() };
        let set = |is_it: bool, from: IpAddr, to: IpAddr| {
            if is_it {
                world.links.set(from, to, link);
            }
        };
        set(ways[0], client, server);
        set(ways[1], server, client);
    };
    match what {
        What::Lost { client, way, .. } => {
            let ways = [way != Way::ToClient, way != Way::ToServer];
            set(client, ways, Link { is_lost: true, ..Link::default() });
            let (client, server) = on_link(client);
            if ways[0] && is_on {
                sim.partition_oneway(&*client, server);
            } else if ways[0] {
                sim.repair_oneway(&*client, server);
            }
            if ways[1] && is_on {
                sim.partition_oneway(server, &*client);
            } else if ways[1] {
                sim.repair_oneway(server, &*client);
            }
        }
        What::Held { client, .. } => {
            set(client, [true; 2], Link { is_held: true, ..Link::default() });
            let (client, server) = on_link(client);
            if is_on { sim.hold(&*client, server) } else { sim.release(&*client, server) }
        }
        What::Slow { client, bytes, .. } => {
            set(client, [true; 2], Link { bytes: Some(bytes), ..Link::default() });
        }
        What::Late { client, most, .. } => {
            let most = Duration::from_millis(if is_on { most } else { 100 });
            let (client, server) = on_link(client);
            sim.set_link_max_message_latency(&*client, server, most);
        }
        What::Crash(_) if is_on => sim.crash(&*name),
        What::Crash(_) => sim.bounce(&*name),
        What::Drain(server) => {
            world.drains[server].store(is_on, Ordering::Relaxed);
            if !is_on && sim.is_host_running(&*name) {
                world.violated("a server that is to end does so in time");
            } else if !is_on {
                sim.bounce(&*name);
            }
        }
    }
}
