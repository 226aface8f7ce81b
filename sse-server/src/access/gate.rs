//! Where streams are admitted, watched, and shown out.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, timeout};
use tracing::{debug, info, warn};

use super::peers::{HELLO, Notice, Peers};
use super::streams::{Ending, Guard, Streams, Watch};
use super::{AccessError, ChannelManager, Occasion, Principal};
use crate::hub::{Hub, RelayNotice};

/// How many streams are checked at the same time.
const PARALLEL: usize = 16;

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an instance may take to check all streams that a change concerns.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long to wait for instances that have not confirmed before they are told again.
const AGAIN: Duration = Duration::from_secs(4);

/// How often it is looked whether a manager that wants no rechecks wants some now.
const NO_RECHECK: Duration = Duration::from_secs(5);

/// Asks a [`ChannelManager`], and ends streams whose permission is gone, here and on other
/// instances. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Access {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    manager: Arc<dyn ChannelManager>,
    streams: Mutex<Streams>,
    pub(super) hub: Hub,
    peers: Peers,
}

/// What a change of permissions has led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changed {
    /// How many streams were closed here.
    pub closed: usize,
    /// How many other instances have confirmed that they are done too.
    pub instances: usize,
}

/// A change of permissions is not in force everywhere. Saying it again does no harm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Some streams could not be checked here. They stay open as long as the manager's patience
    /// lasts.
    #[error("{0} streams could not be checked again; try again")]
    Unchecked(usize),
    /// Other instances have not heard of it. They will when the relay works again.
    #[error("other instances could not be told, for the relay failed; try again")]
    Untold,
    /// Other instances have not confirmed in time, or could not check.
    #[error("{0} other instances have not confirmed; try again")]
    Unconfirmed(usize),
}

/// Why a stream is not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// These channels may not be read.
    Refused(Vec<Arc<str>>),
    /// It could not be found out.
    Unchecked,
}

impl Access {
    /// Asks this manager, for the streams of this hub. Changes of permissions are passed on over
    /// the hub's relay. Must be called in a Tokio runtime.
    pub fn new(manager: Arc<dyn ChannelManager>, hub: &Hub) -> Self {
        let peers = Peers::new(hub.relay_echoes());
        let shared =
            Arc::new(Shared { manager, streams: Mutex::default(), hub: hub.clone(), peers });
        start_rechecking(&shared);
        if hub.has_relay() {
            start_listening(&shared);
        }
        Self { shared }
    }

    /// The manager.
    pub fn manager(&self) -> &dyn ChannelManager {
        &*self.shared.manager
    }

    /// This user (none: everyone without a name) may read more or less of this channel than before:
    /// asks the manager again for each of their open streams that has the channel, on every
    /// instance, and closes those that may not read it any more. The others are left alone.
    ///
    /// When this returns, it is done: no closed stream gets anything that is published from now on,
    /// on no instance. That goes for all instances whose relay works. One that is cut off from the
    /// relay is taken for gone after 5 s; it closes its streams when it is connected again, or when
    /// the manager's [`recheck`](ChannelManager::recheck) is due, whichever is first. Without a
    /// relay only this instance is told, and the others notice when it is due.
    ///
    /// # Errors
    ///
    /// If it is not certain that this has been done everywhere. It has been done as far as
    /// possible.
    pub async fn permission_changed(
        &self,
        user: Option<&str>,
        channel: &str,
    ) -> Result<Changed, ChangeError> {
        let (here, there) =
            tokio::join!(self.shared.change(user, channel), self.shared.tell(user, channel));
        let changed = Changed { closed: here?, instances: there? };
        info!(
            user,
            channel,
            closed = changed.closed,
            others = changed.instances,
            "permission changed"
        );
        Ok(changed)
    }

    /// Asks the manager again for every open stream here, and closes those that may not be read any
    /// more: for when its rules have changed.
    pub async fn check_all(&self) {
        self.shared.manager.changes_missed().await;
        self.shared.check_all(|watch| !watch.is_ended()).await;
    }

    /// Tells other instances that this one is going, so that they do not wait for it.
    pub async fn close(&self) {
        if self.shared.hub.has_relay() {
            let bye = self.shared.peers.bye();
            // They will notice anyway.
            timeout(Duration::from_secs(1), self.shared.hub.send_notice(&bye)).await.ok();
        }
    }

    /// Lets a stream in, if all of its channels may be read.
    pub(crate) async fn admit(
        &self,
        principal: Principal,
        channels: &[Arc<str>],
    ) -> Result<Guard, NotAdmitted> {
        // Watched from before the question: a change that comes while it is being answered is then
        // seen to by the caller that makes the change.
        let watch = Arc::new(Watch::new(principal, channels.to_vec()));
        if mutant!("asked-before-watched") {
            let asked = self.shared.ask(&watch.principal, channels, Occasion::Opening).await;
            let key = self.shared.streams().add(watch.clone());
            return match asked {
                Ok(refused) if refused.is_empty() => {
                    Ok(Guard::new(self.shared.clone(), watch, key))
                }
                Ok(refused) => Err(NotAdmitted::Refused(refused)),
                Err(_) => Err(NotAdmitted::Unchecked),
            };
        }
        let key = self.shared.streams().add(watch.clone());
        let guard = Guard::new(self.shared.clone(), watch, key);
        match self.shared.ask(guard.principal(), channels, Occasion::Opening).await {
            Ok(refused) if !refused.is_empty() => Err(NotAdmitted::Refused(refused)),
            Ok(_) => match guard.ending() {
                Some(Ending::Forbidden(channels)) => Err(NotAdmitted::Refused(channels)),
                _ => Ok(guard),
            },
            Err(error) => {
                warn!(%error, "it cannot be found out who may read a channel");
                Err(NotAdmitted::Unchecked)
            }
        }
    }
}

impl Shared {
    pub(super) fn streams(&self) -> MutexGuard<'_, Streams> {
        // A panic between two changes leaves maps that are still in order.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the channels that may not be read.
    async fn ask(
        &self,
        principal: &Principal,
        channels: &[Arc<str>],
        occasion: Occasion,
    ) -> Result<Vec<Arc<str>>, AccessError> {
        let refused = self.manager.refused(principal, channels, occasion);
        timeout(CHECK_TIMEOUT, refused).await.unwrap_or_else(|_| {
            let text = format!("no answer within {} s", CHECK_TIMEOUT.as_secs());
            Err(AccessError::Unavailable(text))
        })
    }

    /// Checks a stream again, and ends it if it has to end.
    pub(super) async fn check(&self, watch: &Watch) {
        if watch.is_ended() {
            return;
        }
        match self.ask(&watch.principal, &watch.channels, Occasion::Recheck).await {
            Ok(refused) if refused.is_empty() => watch.passed(),
            Ok(refused) => {
                watch.end(Ending::Forbidden(refused));
            }
            Err(AccessError::Invalid(_)) => {
                watch.end(Ending::Forbidden(watch.channels.clone()));
            }
            Err(AccessError::Outdated) => {
                watch.end(Ending::Outdated);
            }
            Err(_) if mutant!("failed-check-is-a-no") => {
                watch.end(Ending::Forbidden(watch.channels.clone()));
            }
            // Still due.
            Err(AccessError::Busy) => debug!("a stream is not checked now: too many others are"),
            Err(error) => {
                debug!(%error, "a stream cannot be checked");
                watch.failed(self.manager.patience());
            }
        }
    }

    /// Checks all streams, or those that are due.
    async fn check_all(self: &Arc<Self>, is_due: impl Fn(&Watch) -> bool) {
        let watches: Vec<_> = self.streams().all().filter(|watch| is_due(watch)).cloned().collect();
        let checks = watches.into_iter().map(|watch| {
            let shared = self.clone();
            async move { shared.check(&watch).await }
        });
        stream::iter(checks).buffer_unordered(PARALLEL).collect::<()>().await;
    }

    /// Sees to the streams here that a change concerns, and returns how many were closed.
    pub(super) async fn change(
        self: &Arc<Self>,
        user: Option<&str>,
        channel: &str,
    ) -> Result<usize, ChangeError> {
        if !mutant!("old-answer-kept") {
            self.manager.permission_changed(user, channel).await;
        }
        let watches = self.streams().of(user, channel);
        let concerned = watches.len();
        let channel: Arc<str> = channel.into();
        let checks =
            watches.into_iter().map(|watch| self.clone().check_channel(watch, channel.clone()));
        let all = stream::iter(checks).buffer_unordered(PARALLEL).collect::<Vec<_>>();
        let Ok(results) = timeout(CHANGE_TIMEOUT, all).await else {
            return Err(ChangeError::Unchecked(concerned));
        };
        match results.iter().filter(|result| result.is_none()).count() {
            0 => Ok(results.into_iter().flatten().filter(|&is_closed| is_closed).count()),
            unchecked => Err(ChangeError::Unchecked(unchecked)),
        }
    }

    /// Checks one channel of a stream, and returns whether that has ended it. None: it is not
    /// known.
    async fn check_channel(self: Arc<Self>, watch: Arc<Watch>, channel: Arc<str>) -> Option<bool> {
        let channels = [channel];
        match self.ask(&watch.principal, &channels, Occasion::Change).await {
            Ok(refused) if refused.is_empty() => Some(false),
            Ok(_) | Err(AccessError::Invalid(_)) => {
                Some(watch.end(Ending::Forbidden(channels.to_vec())))
            }
            Err(AccessError::Outdated) => Some(watch.end(Ending::Outdated)),
            Err(error) => {
                warn!(%error, "a stream cannot be checked");
                None
            }
        }
    }

    /// Has other instances do the same, and waits until they have. Returns how many did.
    async fn tell(&self, user: Option<&str>, channel: &str) -> Result<usize, ChangeError> {
        if !self.hub.has_relay() || mutant!("revoked-here-only") {
            return Ok(0);
        }
        if !self.peers.are_known().await {
            return Err(ChangeError::Untold);
        }
        let (change, notice) = self.peers.begin(user, channel);
        if let Err(error) = self.hub.send_notice(&notice).await {
            warn!(%error, "other instances are not told that a permission has changed");
            return Err(ChangeError::Untold);
        }
        if mutant!("revocation-not-awaited") {
            return Ok(0);
        }
        let mut confirmed = std::pin::pin!(change.confirmed());
        loop {
            if let Ok(confirmed) = timeout(AGAIN, &mut confirmed).await {
                return confirmed.map_err(|missing| match missing {
                    0 => ChangeError::Untold,
                    missing => ChangeError::Unconfirmed(missing),
                });
            }
            // An instance that has just come may have been heard before it could hear. Saying it
            // again does no harm.
            self.hub.send_notice(&notice).await.ok();
        }
    }

    /// Takes in what another instance has said.
    async fn hear(self: &Arc<Self>, text: &str) {
        let Some(notice) = self.peers.hear(text) else { return };
        match notice {
            Notice::Answer(answer) => {
                self.hub.send_notice(&answer).await.ok();
            }
            Notice::Changed { from, number, user, channel, turn } => {
                // Beside the others: one slow check must not hold up the next.
                let shared = self.clone();
                tokio::spawn(async move {
                    let done =
                        turn.is_some() && shared.change(user.as_deref(), &channel).await.is_ok();
                    let done = shared.peers.done(from, number, done);
                    if let Err(error) = shared.hub.send_notice(&done).await {
                        warn!(%error, "a change of permissions could not be confirmed");
                    }
                    drop(turn);
                });
            }
        }
    }
}

/// Starts the task that checks all streams now and then. It ends when the access is gone.
fn start_rechecking(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        loop {
            // Looked at each time, for the manager may get other rules.
            let Some(period) = shared.upgrade().map(|shared| shared.manager.recheck()) else {
                return;
            };
            // Ten times a period, so that a stream is late by a tenth at most.
            let pause = period.map_or(NO_RECHECK, |period| period / 10);
            tokio::time::sleep(pause.max(Duration::from_millis(10))).await;
            let Some(shared) = shared.upgrade() else { return };
            if let Some(period) = period.filter(|_| !mutant!("never-checked-again")) {
                shared.check_all(|watch| watch.is_due(period)).await;
            }
        }
    });
}

/// Starts the task that listens to other instances. It ends when the access is gone.
fn start_listening(shared: &Arc<Shared>) {
    let (mut heard, mut was_connected) = shared.hub.notices();
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(HELLO);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = if std::mem::take(&mut was_connected) {
                Some(Ok(RelayNotice::Connected))
            } else {
                tokio::select! {
                    biased;
                    _ = ticks.tick() => None,
                    heard = heard.recv() => Some(heard),
                }
            };
            let Some(shared) = shared.upgrade() else { return };
            match heard {
                None => {
                    let hello = shared.peers.hello();
                    timeout(HELLO, shared.hub.send_notice(&hello)).await.ok();
                }
                Some(Ok(RelayNotice::Notice(text))) => shared.hear(&text).await,
                // What was said meanwhile is not known.
                Some(Ok(RelayNotice::Connected) | Err(RecvError::Lagged(_))) => {
                    shared.peers.connected();
                    let hello = shared.peers.hello();
                    timeout(HELLO, shared.hub.send_notice(&hello)).await.ok();
                    if mutant!("missed-changes-ignored") {
                        continue;
                    }
                    tokio::spawn(async move {
                        shared.manager.changes_missed().await;
                        shared.check_all(|watch| !watch.is_ended()).await;
                    });
                }
                Some(Err(RecvError::Closed)) => return,
            }
        }
    });
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}
