#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sse_fuzz_bodies::run("session", data));
