//! A disk that may lose, at a power cut, whatever has not been synced.
//!
//! What a sync covers is on the disk. Of everything else each sector may be there or not, in any
//! order; a file that became longer may have zeros where nothing arrived; names that were given,
//! changed or taken away are there up to some moment, in their order, as file systems with a
//! journal keep them. Sectors themselves are whole: new or old.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::trace::{Act, Step};

/// How much of what was not synced is on the disk after the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing.
    Lost,
    /// Everything: the power came back, or only the processes were killed.
    Kept,
    /// What came up to some moment; of the change at that moment only the first sectors.
    UpTo,
    /// Any sectors of this size.
    Any { sector: usize },
}

pub(crate) const CUTS: [Cut; 5] =
    [Cut::Lost, Cut::Any { sector: 512 }, Cut::UpTo, Cut::Any { sector: 4096 }, Cut::Kept];

/// A way in which a disk is worse than it should be, which a proof must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It does not sync at all, as if nobody asked it to.
    NoSync,
    /// It does not sync files that have this in their names.
    NoSyncOf(&'static str),
}

type FileId = usize;

#[derive(Clone, Debug)]
enum Change {
    Write {
        file: FileId,
        at: usize,
        bytes: Vec<u8>,
    },
    Resize {
        file: FileId,
        len: usize,
    },
    /// From now on this name leads to this file.
    Name {
        path: PathBuf,
        file: FileId,
    },
    NoName {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        file: FileId,
    },
}

#[derive(Clone, Debug)]
struct Pending {
    /// The place of its call in the log.
    begun: usize,
    change: Change,
}

/// What is surely on the disk, and what may be.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    fault: Fault,
    /// Folders stay, and are there at once.
    folders: BTreeSet<PathBuf>,
    files: Vec<Vec<u8>>,
    names: BTreeMap<PathBuf, FileId>,
    pending: Vec<Pending>,
    /// As the processes see it.
    names_now: BTreeMap<PathBuf, FileId>,
    lens_now: Vec<usize>,
}

impl Disk {
    /// What is in this folder and the folders in it, all of it on the disk.
    pub(crate) fn new(folder: &Path, fault: Fault) -> Self {
        let mut this = Self {
            folder: folder.to_owned(),
            fault,
            folders: BTreeSet::new(),
            files: Vec::new(),
            names: BTreeMap::new(),
            pending: Vec::new(),
            names_now: BTreeMap::new(),
            lens_now: Vec::new(),
        };
        this.take_in(folder);
        this.names_now.clone_from(&this.names);
        this.lens_now = this.files.iter().map(Vec::len).collect();
        this
    }

    fn take_in(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let kind = entry.file_type().expect("known");
            if kind.is_dir() {
                self.folders.insert(entry.path());
                self.take_in(&entry.path());
            } else if kind.is_file() {
                self.names.insert(entry.path(), self.files.len());
                self.files.push(fs::read(entry.path()).expect("readable"));
            }
        }
    }

    /// The same, in another folder.
    pub(crate) fn move_to(&mut self, folder: &Path) {
        let moved = |path: &Path| folder.join(path.strip_prefix(&self.folder).expect("in it"));
        for names in [&mut self.names, &mut self.names_now] {
            *names =
                std::mem::take(names).into_iter().map(|(path, id)| (moved(&path), id)).collect();
        }
        self.folders = self.folders.iter().map(|path| moved(path)).collect();
        self.folder = folder.to_owned();
    }

    /// Does what processes have asked for. What is outside of the folder does not matter.
    pub(crate) fn act(&mut self, step: &Step) {
        let begun = step.begun;
        let here = |path: &Path| path.starts_with(&self.folder);
        match &step.act {
            Act::Open { path, is_made, is_emptied } if here(path) => {
                match self.names_now.get(path).copied() {
                    Some(file) if *is_emptied && self.lens_now[file] > 0 => {
                        self.change(begun, Change::Resize { file, len: 0 });
                    }
                    None if *is_made => {
                        let file = self.files.len();
                        self.files.push(Vec::new());
                        self.lens_now.push(0);
                        self.change(begun, Change::Name { path: path.clone(), file });
                    }
                    _ => {}
                }
            }
            Act::Write { path, at, bytes } if here(path) => {
                let Some(file) = self.names_now.get(path).copied() else { return };
                let at = at.map_or(self.lens_now[file], |at| usize::try_from(at).expect("fits"));
                if bytes.is_empty() {
                    let len = at.max(self.lens_now[file]);
                    return self.change(begun, Change::Resize { file, len });
                }
                self.change(begun, Change::Write { file, at, bytes: bytes.clone() });
            }
            Act::Resize { path, len } if here(path) => {
                let Some(file) = self.names_now.get(path).copied() else { return };
                let len = usize::try_from(*len).expect("fits");
                self.change(begun, Change::Resize { file, len });
            }
            Act::Rename { from, to } if here(to) => {
                let Some(file) = self.names_now.get(from).copied() else { return };
                let (from, to) = (from.clone(), to.clone());
                self.change(begun, Change::Rename { from, to, file });
            }
            Act::Link { from, to } if here(to) => {
                let Some(file) = self.names_now.get(from).copied() else { return };
                self.change(begun, Change::Name { path: to.clone(), file });
            }
            Act::Unlink { path } if here(path) => {
                self.change(begun, Change::NoName { path: path.clone() });
            }
            Act::Folder { path } if here(path) => drop(self.folders.insert(path.clone())),
            Act::Sync { path } if here(path) => self.sync(begun, path),
            Act::SyncAll if self.fault == Fault::None => {
                self.settle(|pending| pending.begun < begun);
            }
            _ => {}
        }
    }

    fn change(&mut self, begun: usize, change: Change) {
        match &change {
            Change::Write { file, at, bytes } => {
                let len = &mut self.lens_now[*file];
                *len = (*len).max(at + bytes.len());
            }
            Change::Resize { file, len } => self.lens_now[*file] = *len,
            names => apply_name(&mut self.names_now, names),
        }
        self.pending.push(Pending { begun, change });
    }

    fn sync(&mut self, begun: usize, path: &Path) {
        let is_done = match self.fault {
            Fault::None => true,
            Fault::NoSync => false,
            Fault::NoSyncOf(part) => !path.to_string_lossy().contains(part),
        };
        if !is_done {
            return;
        }
        let Some(file) = self.names_now.get(path).copied() else {
            // A folder: the names in it, and all that came before, which the journal has in order.
            let is_in = |path: &Path, of: &Path| path.parent() == Some(of);
            let last = self.pending.iter().rposition(|pending| {
                pending.begun < begun
                    && match &pending.change {
                        Change::Name { path: name, .. } | Change::NoName { path: name } => {
                            is_in(name, path)
                        }
                        Change::Rename { from, to, .. } => is_in(from, path) || is_in(to, path),
                        _ => false,
                    }
            });
            return self.settle_names(last);
        };
        // The name of a new file comes with its content, as ext4, XFS and Btrfs have it.
        let last = self.pending.iter().rposition(|pending| {
            pending.begun < begun
                && matches!(&pending.change, Change::Name { file: named, .. } if *named == file)
        });
        self.settle_names(last);
        self.settle(|pending| {
            let (Change::Write { file: changed, .. } | Change::Resize { file: changed, .. }) =
                &pending.change
            else {
                return false;
            };
            *changed == file && pending.begun < begun
        });
    }

    /// All changes of names up to this one are on the disk.
    fn settle_names(&mut self, last: Option<usize>) {
        let Some(last) = last else { return };
        let mut index = 0;
        self.settle(|pending| {
            index += 1;
            index - 1 <= last && is_of_names(&pending.change)
        });
    }

    /// These changes are on the disk.
    fn settle(&mut self, mut is_settled: impl FnMut(&Pending) -> bool) {
        let (files, names) = (&mut self.files, &mut self.names);
        self.pending.retain(|pending| {
            let settled = is_settled(pending);
            if settled {
                apply(files, names, &pending.change);
            }
            !settled
        });
    }

    /// How many changes may be lost.
    pub(crate) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    /// Puts what is on the disk after a cut now into a folder. Memory that processes have shared by
    /// way of a file (`-shm`) is anything: no such file is ever synced, and SQLite makes it anew.
    pub(crate) fn restore(&self, cut: Cut, into: &Path, rng: &mut Rng) {
        for folder in &self.folders {
            let relative = folder.strip_prefix(&self.folder).expect("in it");
            fs::create_dir_all(into.join(relative)).expect("it can be made");
        }
        for (name, mut bytes) in self.after(cut, rng) {
            if name.to_string_lossy().ends_with("-shm") {
                bytes = (0..32 << 10).map(|_| rng.u8(..)).collect();
            }
            fs::write(into.join(name), bytes).expect("writable");
        }
    }

    /// What is on the disk after a cut now: names, in the folder, and contents.
    pub(crate) fn after(&self, cut: Cut, rng: &mut Rng) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut files, mut names) = (self.files.clone(), self.names.clone());
        let all = self.pending.len();
        let renamings = self.pending.iter().filter(|pending| is_of_names(&pending.change)).count();
        let (until, mut names_left) = match cut {
            Cut::Lost => (0, 0),
            Cut::Kept => (all, renamings),
            Cut::UpTo => (rng.usize(..=all), renamings),
            Cut::Any { .. } => (all, rng.usize(..=renamings)),
        };
        // Of everything that is not synced, hardly anything is there, or hardly anything is not.
        let share = [0.1, 0.5, 0.9][rng.usize(..3)];
        for (index, Pending { change, .. }) in self.pending.iter().enumerate() {
            if index > until || (index == until && cut != Cut::UpTo) {
                break;
            }
            let is_last = index == until;
            match (change, cut) {
                (Change::Write { file, at, bytes }, Cut::Any { sector }) => {
                    let is_longer = rng.bool();
                    for (start, piece) in sectors(*at, bytes, sector) {
                        if rng.f64() < share {
                            put(&mut files[*file], start, piece);
                        } else if is_longer {
                            put(&mut files[*file], start + piece.len(), &[]);
                        }
                    }
                }
                (Change::Resize { .. }, Cut::Any { .. }) if rng.f64() >= share => {}
                (Change::Write { file, at, bytes }, _) if is_last => {
                    let pieces = sectors(*at, bytes, 512);
                    let count = rng.usize(..pieces.len());
                    for (start, piece) in pieces.into_iter().take(count) {
                        put(&mut files[*file], start, piece);
                    }
                }
                _ if is_last => {}
                (change, _) if is_of_names(change) => {
                    if names_left > 0 {
                        names_left -= 1;
                        apply(&mut files, &mut names, change);
                    }
                }
                (change, _) => apply(&mut files, &mut names, change),
            }
        }
        let relative = |path: &Path| path.strip_prefix(&self.folder).expect("in it").to_owned();
        names.into_iter().map(|(path, file)| (relative(&path), files[file].clone())).collect()
    }
}

fn is_of_names(change: &Change) -> bool {
    !matches!(change, Change::Write { .. } | Change::Resize { .. })
}

fn apply(files: &mut [Vec<u8>], names: &mut BTreeMap<PathBuf, FileId>, change: &Change) {
    match change {
        Change::Write { file, at, bytes } => put(&mut files[*file], *at, bytes),
        Change::Resize { file, len } => files[*file].resize(*len, 0),
        change => apply_name(names, change),
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, FileId>, change: &Change) {
    match change {
        Change::Name { path, file } => drop(names.insert(path.clone(), *file)),
        Change::NoName { path } => drop(names.remove(path)),
        Change::Rename { from, to, file } => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
        _ => {}
    }
}

/// Writes to a file, which becomes as long as it has to.
fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}

/// What goes to each sector of this size, with its place.
fn sectors(at: usize, bytes: &[u8], sector: usize) -> Vec<(usize, &[u8])> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    while start < bytes.len() {
        let len = (sector - (at + start) % sector).min(bytes.len() - start);
        pieces.push((at + start, &bytes[start..start + len]));
        start += len;
    }
    pieces
}

#[test]
fn what_was_synced_is_there_and_of_the_rest_anything_may_be() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a");
    fs::write(&path, vec![1; 1024]).expect("writable");
    let act = |begun, act| Step { time: 0.0, begun, is_certain: true, act };
    let write = |begun, at, byte, len| {
        act(begun, Act::Write { path: path.clone(), at: Some(at), bytes: vec![byte; len] })
    };
    let mut disk = Disk::new(folder.path(), Fault::None);
    disk.act(&write(1, 0, 2, 512));
    disk.act(&write(3, 512, 3, 1024));
    // It began before the second of them, and says nothing of it.
    disk.act(&act(2, Act::Sync { path: path.clone() }));
    assert_eq!(disk.unsynced(), 1);
    let mut rng = Rng::with_seed(1);
    let mut after = |cut| disk.after(cut, &mut rng).remove(Path::new("a")).expect("it is there");
    let bytes = |parts: &[(u8, usize)]| {
        parts.iter().flat_map(|&(byte, len)| vec![byte; len]).collect::<Vec<u8>>()
    };
    assert_eq!(after(Cut::Lost), bytes(&[(2, 512), (1, 512)]));
    assert_eq!(after(Cut::Kept), bytes(&[(2, 512), (3, 1024)]));
    let any: BTreeSet<_> = (0..100).map(|_| after(Cut::Any { sector: 512 })).collect();
    // Each of the two sectors is there or not, and the second may be all zeros.
    let mut expected = BTreeSet::new();
    for first in [1, 3] {
        expected.insert(bytes(&[(2, 512), (first, 512)]));
        expected.insert(bytes(&[(2, 512), (first, 512), (3, 512)]));
        expected.insert(bytes(&[(2, 512), (first, 512), (0, 512)]));
    }
    assert_eq!(any, expected);
    let mut liar = Disk::new(folder.path(), Fault::NoSync);
    liar.act(&write(1, 0, 2, 512));
    liar.act(&act(2, Act::Sync { path: path.clone() }));
    assert_eq!(liar.after(Cut::Lost, &mut rng)[Path::new("a")], bytes(&[(1, 1024)]));
}

#[test]
fn a_name_is_only_there_for_sure_when_its_file_or_folder_was_synced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let act = |begun, act| Step { time: 0.0, begun, is_certain: true, act };
    let made =
        |begun, name| act(begun, Act::Open { path: path(name), is_made: true, is_emptied: false });
    let mut rng = Rng::with_seed(1);
    let mut names = |disk: &Disk, cut| {
        let names = disk.after(cut, &mut rng).into_keys();
        names.map(|name| name.display().to_string()).collect::<Vec<_>>()
    };
    let mut disk = Disk::new(folder.path(), Fault::None);
    disk.act(&made(1, "a"));
    disk.act(&made(2, "b"));
    assert_eq!(names(&disk, Cut::Lost), [""; 0]);
    disk.act(&act(3, Act::Sync { path: path("a") }));
    assert_eq!(names(&disk, Cut::Lost), ["a"]);
    disk.act(&act(4, Act::Rename { from: path("a"), to: path("c") }));
    assert_eq!(names(&disk, Cut::Lost), ["a"]);
    assert_eq!(names(&disk, Cut::Kept), ["b", "c"]);
    disk.act(&act(5, Act::Sync { path: folder.path().to_owned() }));
    disk.act(&act(6, Act::Unlink { path: path("b") }));
    assert_eq!(names(&disk, Cut::Lost), ["b", "c"]);
    assert_eq!(names(&disk, Cut::Kept), ["c"]);
}
