//! The timers and tasks of JavaScript.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::Runtime;
use crate::send::BoxFuture;

/// What `setTimeout` can count to, in milliseconds.
const MAX_TIMEOUT: u128 = i32::MAX as u128;

/// `setTimeout`, and the tasks of wasm-bindgen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Web;

impl Runtime for Web {
    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        Box::pin(Sleep::new(time))
    }

    fn spawn(&self, future: BoxFuture<()>) {
        spawn_local(future);
    }
}

/// A timer that is cleared when it is dropped, so that Node can end.
struct Sleep {
    timer: JsValue,
    future: JsFuture,
}

impl Sleep {
    fn new(time: Duration) -> Self {
        // It rings early rather than never; a source then waits again.
        let milliseconds = time.as_nanos().div_ceil(1_000_000).min(MAX_TIMEOUT);
        #[expect(clippy::cast_precision_loss, reason = "it is at most 2^31")]
        let milliseconds = JsValue::from_f64(milliseconds as f64);
        let mut timer = JsValue::UNDEFINED;
        let promise = Promise::new(&mut |resolve, _| {
            if let Some(id) = call("setTimeout", &[&resolve, &milliseconds]) {
                timer = id;
            }
        });
        Self { timer, future: promise.into() }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.future).poll(cx).map(drop)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        call("clearTimeout", &[&self.timer]);
    }
}

/// Calls a global function.
fn call(name: &str, arguments: &[&JsValue]) -> Option<JsValue> {
    let global = js_sys::global();
    let function: Function = Reflect::get(&global, &name.into()).ok()?.dyn_into().ok()?;
    let arguments = arguments.iter().copied().collect::<js_sys::Array>();
    function.apply(&global, &arguments).ok()
}
