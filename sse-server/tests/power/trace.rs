//! What processes have asked of the system, in one order: `strace`'s log, read.
//!
//! strace stops a thread before and after each call, and writes down both in the order in which it
//! saw them. So a call whose end stands before another's begin was over by then. Here a change of a
//! file stands where its call began, from when on it may be on the disk, and a sync where it ended,
//! from when on it has been done; what has gone out to a client stands where its call began.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The calls that are recorded.
const CALLS: &str = "trace=open,openat,creat,close,dup,dup2,dup3,lseek,write,writev,pwrite64,pwritev,pwritev2,\
                     sendto,sendmsg,fsync,fdatasync,sync,syncfs,msync,sync_file_range,ftruncate,truncate,\
                     fallocate,rename,renameat,renameat2,unlink,unlinkat,link,linkat,mkdir,mkdirat,clone,clone3,fork,\
                     vfork";

/// The command that records what the command after it does, and adds it to a log.
///
/// The recorder is no parent of what it records, so that this is killed and waited for as ever.
pub(crate) fn recorder(log: &Path) -> Vec<String> {
    let log = log.display().to_string();
    // Bytes as such, none left out, times in microseconds, files by name.
    let flags = ["-D", "-f", "-q", "-y", "-xx", "-ttt", "-A", "--seccomp-bpf", "-s", "67108864"];
    let args = ["strace"].into_iter().chain(flags).chain(["-e", CALLS, "-o", &log]);
    args.map(str::to_owned).collect()
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Seconds since 1970, where the call began.
    pub(crate) time: f64,
    /// The place of the call's begin in the log.
    pub(crate) begun: usize,
    /// It is known to have been done. Otherwise its process was killed meanwhile.
    pub(crate) is_certain: bool,
    pub(crate) act: Act,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// A file was opened: made if it was not there, and made empty if `is_emptied`.
    Open {
        path: PathBuf,
        is_made: bool,
        is_emptied: bool,
    },
    /// Bytes were written; without a place, at the end.
    Write {
        path: PathBuf,
        at: Option<u64>,
        bytes: Vec<u8>,
    },
    /// A file got this length.
    Resize {
        path: PathBuf,
        len: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    /// A folder was made.
    Folder {
        path: PathBuf,
    },
    /// What was written to this file, or which names are in this folder, is on the disk.
    Sync {
        path: PathBuf,
    },
    /// Everything is.
    SyncAll,
    /// Bytes have gone out to another process.
    Sent {
        bytes: Vec<u8>,
    },
}

/// Reads the log of processes whose names of files are relative to `folder`.
pub(crate) fn read(log: &str, folder: &Path) -> Vec<Step> {
    let calls = calls(log);
    let groups = groups(&calls);
    let mut files = Files { folder: folder.to_owned(), ..Files::default() };
    let mut steps = Vec::new();
    for call in &calls {
        let group = groups.get(&call.process).copied().unwrap_or(call.process);
        if let Some(act) = files.act(group, call) {
            let at = if matches!(act, Act::Sync { .. } | Act::SyncAll) {
                // One that has not ended has not been done.
                let Some(ended) = call.ended else { continue };
                ended
            } else {
                call.begun
            };
            let is_certain = call.returned.is_some();
            steps.push((at, Step { time: call.time, begun: call.begun, is_certain, act }));
        }
    }
    steps.sort_by_key(|(at, _)| *at);
    steps.into_iter().map(|(_, step)| step).collect()
}

/// A call of the system.
struct Call {
    process: u32,
    time: f64,
    begun: usize,
    ended: Option<usize>,
    name: String,
    args: Vec<String>,
    /// What was returned, and what is said beside it. None: it did not return.
    returned: Option<String>,
}

/// All calls, in the order in which they began.
fn calls(log: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut texts: Vec<String> = Vec::new();
    // The calls that have not ended, by thread.
    let mut open: HashMap<u32, usize> = HashMap::new();
    for (line, number) in log.lines().zip(0..) {
        let mut words = line.splitn(3, ' ').filter(|word| !word.is_empty());
        let process: u32 = words.next().and_then(|id| id.parse().ok()).expect("a thread");
        let rest = line.split_once(' ').expect("more than a thread").1.trim_start();
        let (time, text) = rest.split_once(' ').expect("a time and a call");
        let time: f64 = time.parse().expect("a time");
        if text.starts_with("+++") || text.starts_with("---") {
            continue;
        }
        if let Some(resumed) = text.strip_prefix("<... ") {
            let Some(index) = open.remove(&process) else { continue };
            let (_, end) = resumed.split_once(" resumed>").expect("the end of a call");
            texts[index] += end;
            calls[index].ended = Some(number);
            continue;
        }
        let (begin, ended) = match text.strip_suffix(" <unfinished ...>") {
            Some(begin) => (begin, None),
            None => (text, Some(number)),
        };
        if ended.is_none() {
            open.insert(process, calls.len());
        }
        let name = begin.split('(').next().unwrap_or_default().to_owned();
        texts.push(begin.to_owned());
        let (args, returned) = (Vec::new(), None);
        calls.push(Call { process, time, begun: number, ended, name, args, returned });
    }
    for (call, text) in calls.iter_mut().zip(texts) {
        let inner = text.strip_prefix(&*call.name).and_then(|text| text.strip_prefix('('));
        let inner = inner.unwrap_or_default();
        // Bytes are written as numbers, so that nothing else has the look of an end.
        let (args, returned) = match inner.rsplit_once(") = ").or(inner.rsplit_once(")= ")) {
            Some((args, returned)) => (args, Some(returned)),
            None => match inner.rsplit_once(')') {
                Some((args, after)) if after.trim_start().starts_with("= ") => {
                    (args, after.trim_start().strip_prefix("= "))
                }
                _ => (inner, None),
            },
        };
        call.args = split(args);
        call.returned = returned.map(str::to_owned).filter(|returned| !returned.starts_with('?'));
    }
    calls
}

/// The arguments of a call.
fn split(args: &str) -> Vec<String> {
    let (mut depth, mut start, mut split) = (0, 0, Vec::new());
    for (at, byte) in args.bytes().enumerate() {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth -= 1,
            b',' if depth == 0 => {
                split.push(args[start..at].trim().to_owned());
                start = at + 1;
            }
            _ => {}
        }
    }
    split.push(args[start..].trim().to_owned());
    split
}

/// For each thread the process whose files it shares.
fn groups(calls: &[Call]) -> HashMap<u32, u32> {
    let mut groups = HashMap::new();
    for call in calls {
        if !call.name.starts_with("clone") {
            continue;
        }
        let Some(child) = call.number() else { continue };
        if call.args.iter().any(|arg| arg.contains("CLONE_FILES")) {
            let group = groups.get(&call.process).copied().unwrap_or(call.process);
            groups.insert(u32::try_from(child).expect("a process"), group);
        }
    }
    groups
}

impl Call {
    /// The number that was returned, if it is none of an error.
    fn number(&self) -> Option<u64> {
        let returned = self.returned.as_ref()?;
        let end = returned.find(|byte: char| !byte.is_ascii_digit()).unwrap_or(returned.len());
        returned[..end].parse().ok()
    }

    /// It may have done something, as far as is known.
    fn has_succeeded(&self) -> bool {
        self.returned.as_ref().is_none_or(|returned| !returned.starts_with('-'))
    }

    fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    fn arg_number(&self, index: usize) -> u64 {
        self.arg(index).parse().unwrap_or_else(|_| panic!("a number in {:?}", self.args))
    }
}

/// The places in files that are written to one after the other.
#[derive(Default)]
struct Files {
    folder: PathBuf,
    places: HashMap<(u32, String), Place>,
}

#[derive(Clone, Copy)]
enum Place {
    At(u64),
    End,
}

impl Files {
    fn act(&mut self, group: u32, call: &Call) -> Option<Act> {
        if !call.has_succeeded() {
            return None;
        }
        let act = match &*call.name {
            "open" | "openat" | "creat" => return self.open(group, call),
            "close" => {
                self.places.remove(&(group, descriptor(call.arg(0)).0));
                return None;
            }
            "lseek" => {
                let place = Place::At(call.number()?);
                self.places.insert((group, descriptor(call.arg(0)).0), place);
                return None;
            }
            "write" | "writev" => self.write(group, call),
            "pwrite64" | "pwritev" | "pwritev2" => {
                let at = Some(call.arg_number(3));
                Act::Write { path: file(call.arg(0))?, at, bytes: written(call, 1) }
            }
            "sendto" => Act::Sent { bytes: written(call, 1) },
            "sendmsg" => Act::Sent { bytes: bytes(call.arg(1)) },
            "ftruncate" => Act::Resize { path: file(call.arg(0))?, len: call.arg_number(1) },
            "truncate" => Act::Resize { path: self.named(call.arg(0)), len: call.arg_number(1) },
            "fallocate" => {
                let len = call.arg_number(2) + call.arg_number(3);
                Act::Write { path: file(call.arg(0))?, at: Some(len), bytes: Vec::new() }
            }
            "rename" => Act::Rename { from: self.named(call.arg(0)), to: self.named(call.arg(1)) },
            "renameat" | "renameat2" => {
                Act::Rename { from: self.named(call.arg(1)), to: self.named(call.arg(3)) }
            }
            "link" => Act::Link { from: self.named(call.arg(0)), to: self.named(call.arg(1)) },
            "linkat" => Act::Link { from: self.named(call.arg(1)), to: self.named(call.arg(3)) },
            "mkdir" => Act::Folder { path: self.named(call.arg(0)) },
            "mkdirat" => Act::Folder { path: self.named(call.arg(1)) },
            "unlink" => Act::Unlink { path: self.named(call.arg(0)) },
            "unlinkat" => Act::Unlink { path: self.named(call.arg(1)) },
            "fsync" | "fdatasync" => Act::Sync { path: file(call.arg(0))? },
            "sync" | "syncfs" => Act::SyncAll,
            // A hint only, or of memory that is no part of what lasts.
            _ => return None,
        };
        Some(act)
    }

    fn open(&mut self, group: u32, call: &Call) -> Option<Act> {
        let flags = if call.name == "open" { call.arg(1) } else { call.arg(2) };
        let returned = call.returned.as_ref()?;
        let (number, path) = descriptor(returned);
        let path = path?;
        assert!(!flags.contains("SYNC"), "{flags} of {} is not known here", path.display());
        let place = if flags.contains("O_APPEND") { Place::End } else { Place::At(0) };
        self.places.insert((group, number), place);
        let (is_made, is_emptied) = (flags.contains("O_CREAT"), flags.contains("O_TRUNC"));
        (is_made || is_emptied).then_some(Act::Open { path, is_made, is_emptied })
    }

    fn write(&mut self, group: u32, call: &Call) -> Act {
        let (number, path) = descriptor(call.arg(0));
        let bytes = written(call, 1);
        let Some(path) = path else { return Act::Sent { bytes } };
        let place = self.places.entry((group, number)).or_insert(Place::At(0));
        let at = match place {
            Place::End => None,
            Place::At(at) => {
                let begin = *at;
                *at += bytes.len() as u64;
                Some(begin)
            }
        };
        Act::Write { path, at, bytes }
    }

    fn named(&self, arg: &str) -> PathBuf {
        self.folder.join(text(arg))
    }
}

/// The number of a descriptor, and the name of what it is of, if that is a file.
fn descriptor(arg: &str) -> (String, Option<PathBuf>) {
    let Some((number, rest)) = arg.split_once('<') else { return (arg.to_owned(), None) };
    let name = rest.split('>').next().unwrap_or_default();
    let name = text(&format!("\"{name}\""));
    (number.to_owned(), Some(PathBuf::from(name)).filter(|name| name.is_absolute()))
}

/// None: it is no file, or one that has no name any more.
fn file(arg: &str) -> Option<PathBuf> {
    if arg.contains("(deleted)") { None } else { descriptor(arg).1 }
}

/// What was really written, of what was to be.
fn written(call: &Call, index: usize) -> Vec<u8> {
    let mut bytes = bytes(call.arg(index));
    if let Some(written) = call.number() {
        bytes.truncate(usize::try_from(written).expect("a length"));
    }
    bytes
}

/// All strings in an argument, one after the other.
fn bytes(arg: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(arg.len() / 4);
    for string in arg.split('"').skip(1).step_by(2) {
        let escaped = string.as_bytes().chunks_exact(4);
        assert!(escaped.remainder().is_empty() && string.starts_with("\\x") || string.is_empty());
        bytes.extend(escaped.map(|byte| {
            let digits = str::from_utf8(&byte[2..]).expect("ASCII");
            u8::from_str_radix(digits, 16).expect("two digits")
        }));
    }
    bytes
}

fn text(arg: &str) -> String {
    String::from_utf8(bytes(arg)).expect("a name in UTF-8")
}

#[test]
fn calls_stand_where_they_began_and_syncs_where_they_ended() {
    let hex =
        |text: &str| text.bytes().fold(String::new(), |hex, byte| format!("{hex}\\x{byte:02x}"));
    let (a, b) = (hex("/d/a"), hex("b"));
    let log = format!(
        "7  1.000001 clone3({{flags=CLONE_VM|CLONE_FILES, exit_signal=0}}, 88) = 8\n\
         7  1.000002 openat(AT_FDCWD<{a}>, \"{a}\", O_RDWR|O_CREAT, 0644) = 3<{a}>\n\
         8  1.000003 write(3<{a}>, \"{}\", 5) = 5\n\
         7  1.000004 fdatasync(3<{a}> <unfinished ...>\n\
         8  1.000005 pwrite64(3<{a}>, \"{}\", 2, 4096) = 1\n\
         8  1.000006 write(3<{a}>, \"{}\", 1 <unfinished ...>\n\
         7  1.000007 <... fdatasync resumed>)      = 0\n\
         7  1.000008 unlink(\"{b}\") = -1 ENOENT (No such file or directory)\n\
         7  1.000009 rename(\"{b}\", \"{a}\") = 0\n\
         7  1.000010 sendto(9<{}>, \"{}\", 2, MSG_NOSIGNAL, NULL, 0) = 2\n\
         7  1.000011 fsync(3<{a}> <unfinished ...>\n\
         7  1.000012 +++ killed by SIGKILL +++\n",
        hex("hello"),
        hex("xy"),
        hex("z"),
        hex("socket:[1]"),
        hex("ok"),
    );
    let steps = read(&log, Path::new("/d"));
    let told: Vec<String> =
        steps.iter().map(|step| format!("{} {:?}", step.begun, step.act)).collect();
    let expected = [
        r#"1 Open { path: "/d/a", is_made: true, is_emptied: false }"#,
        r#"2 Write { path: "/d/a", at: Some(0), bytes: [104, 101, 108, 108, 111] }"#,
        r#"4 Write { path: "/d/a", at: Some(4096), bytes: [120] }"#,
        r#"5 Write { path: "/d/a", at: Some(5), bytes: [122] }"#,
        r#"3 Sync { path: "/d/a" }"#,
        r#"8 Rename { from: "/d/b", to: "/d/a" }"#,
        "9 Sent { bytes: [111, 107] }",
    ];
    assert_eq!(told, expected);
}
