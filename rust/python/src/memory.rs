//! How much memory a thread may take while it runs a policy's hooks.
//!
//! **Problem.** A hook that builds a gigabyte would have the kernel kill the process, and with it
//! everybody's mail.
//! **Model.** Python asks the C allocator for every block over 512 bytes, and for the arenas it cuts
//! smaller ones from. Both doors are wrapped once (`PyMem_SetAllocator`,
//! `PyObject_SetArenaAllocator`). While a limit is set for a thread, what passes there is counted,
//! and a request that would take the thread over its limit is refused: Python raises MemoryError in
//! the hook, whose frames then give back what they held. Small blocks are cut from arenas as ever,
//! so they cost nothing more; a thread without a limit pays one look at a thread-local.
//! **Reserve.** Raising and reporting needs a little memory itself: blocks of at most a page may go
//! [`RESERVE`] over the limit.
//! **Why here.** Allocators are C callbacks, so this is `unsafe`, and this is the one crate that may
//! be. The C functions are looked up at run time, for they are not part of the stable interface.
//! **Not here.** What extension modules take from `malloc` themselves; debug allocators, whose blocks
//! are not those of the C allocator: the caller does not install it then.
#![allow(
    unsafe_code,
    reason = "an allocator of Python's is a set of C callbacks"
)]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use libloading::os::unix::Library;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// How far over its limit a thread may go with blocks of at most [`SMALL`] bytes.
const RESERVE: usize = 16 << 20;
const SMALL: usize = 4_096;
/// `PYMEM_DOMAIN_RAW` of `cpython/pymem.h`.
const RAW: c_int = 0;

/// `PyMemAllocatorEx`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Allocator {
    ctx: *mut c_void,
    malloc: extern "C" fn(*mut c_void, usize) -> *mut c_void,
    calloc: extern "C" fn(*mut c_void, usize, usize) -> *mut c_void,
    realloc: extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void,
    free: extern "C" fn(*mut c_void, *mut c_void),
}

/// `PyObjectArenaAllocator`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Arenas {
    ctx: *mut c_void,
    alloc: extern "C" fn(*mut c_void, usize) -> *mut c_void,
    free: extern "C" fn(*mut c_void, *mut c_void, usize),
}

/// What was there before, and is called still.
#[derive(Clone, Copy)]
struct Before {
    raw: Allocator,
    arenas: Arenas,
}

// SAFETY: tables of C functions and their context, both of which Python calls from every thread.
unsafe impl Send for Before {}
// SAFETY: as above; they are never changed.
unsafe impl Sync for Before {}

static BEFORE: OnceLock<Before> = OnceLock::new();

unsafe extern "C" {
    /// How much a block of the C allocator really holds (glibc, musl).
    fn malloc_usable_size(block: *mut c_void) -> usize;
}

thread_local! {
    /// 0: this thread has none.
    static LIMIT: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

/// Whether so many bytes more may be taken.
fn may_take(size: usize) -> bool {
    let limit = LIMIT.get();
    if limit == 0 {
        return true;
    }
    let reserve = if size <= SMALL { RESERVE } else { 0 };
    HELD.get().saturating_add(size) <= limit.saturating_add(reserve)
}

fn took(size: usize) {
    let held = HELD.get().saturating_add(size);
    HELD.set(held);
    if held > MOST.get() {
        MOST.set(held);
    }
}

/// Never below 0: what was taken before the limit was set may be given back under it.
fn gave_back(size: usize) {
    HELD.set(HELD.get().saturating_sub(size));
}

fn is_limited() -> bool {
    LIMIT.get() != 0
}

/// Of a live block, or 0 of none.
fn size_of(block: *mut c_void) -> usize {
    if block.is_null() {
        return 0;
    }
    // SAFETY: every block that passes here is the C allocator's, and alive.
    unsafe { malloc_usable_size(block) }
}

fn counted(block: *mut c_void) -> *mut c_void {
    if is_limited() {
        took(size_of(block));
    }
    block
}

// The callbacks are installed after BEFORE is set, so it always is; without it nothing is given.

extern "C" fn raw_malloc(_: *mut c_void, size: usize) -> *mut c_void {
    match BEFORE.get() {
        Some(before) if may_take(size) => counted((before.raw.malloc)(before.raw.ctx, size)),
        _ => std::ptr::null_mut(),
    }
}

extern "C" fn raw_calloc(_: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match BEFORE.get() {
        Some(before) if may_take(count.saturating_mul(size)) => {
            counted((before.raw.calloc)(before.raw.ctx, count, size))
        }
        _ => std::ptr::null_mut(),
    }
}

extern "C" fn raw_realloc(_: *mut c_void, block: *mut c_void, size: usize) -> *mut c_void {
    let Some(before) = BEFORE.get() else {
        return std::ptr::null_mut();
    };
    if !is_limited() {
        return (before.raw.realloc)(before.raw.ctx, block, size);
    }
    let old = size_of(block);
    if size > old && !may_take(size - old) {
        return std::ptr::null_mut();
    }
    let new = (before.raw.realloc)(before.raw.ctx, block, size);
    if !new.is_null() {
        gave_back(old);
        took(size_of(new));
    }
    new
}

extern "C" fn raw_free(_: *mut c_void, block: *mut c_void) {
    let Some(before) = BEFORE.get() else { return };
    if is_limited() {
        gave_back(size_of(block));
    }
    (before.raw.free)(before.raw.ctx, block);
}

extern "C" fn arena_alloc(_: *mut c_void, size: usize) -> *mut c_void {
    match BEFORE.get() {
        Some(before) if may_take(size) => {
            let arena = (before.arenas.alloc)(before.arenas.ctx, size);
            if is_limited() && !arena.is_null() {
                took(size);
            }
            arena
        }
        // Python then asks for the small block by itself, from the reserve.
        _ => std::ptr::null_mut(),
    }
}

extern "C" fn arena_free(_: *mut c_void, arena: *mut c_void, size: usize) {
    let Some(before) = BEFORE.get() else { return };
    if is_limited() {
        gave_back(size);
    }
    (before.arenas.free)(before.arenas.ctx, arena, size);
}

type GetAllocator = unsafe extern "C" fn(c_int, *mut Allocator);
type SetAllocator = unsafe extern "C" fn(c_int, *const Allocator);
type GetArenas = unsafe extern "C" fn(*mut Arenas);
type SetArenas = unsafe extern "C" fn(*const Arenas);

/// Wraps both doors; `Err` names the C function this Python has not.
fn install() -> Result<(), libloading::Error> {
    let python = Library::this();
    let mut raw = std::mem::MaybeUninit::<Allocator>::uninit();
    let mut arenas = std::mem::MaybeUninit::<Arenas>::uninit();
    // SAFETY: the signatures are those of CPython's headers since 3.5; the getters fill what they are
    // given, and the caller holds the GIL. A table that is read while it is written mixes functions
    // that pass to one another, and none of ours uses the context.
    unsafe {
        let get_raw = python.get::<GetAllocator>(b"PyMem_GetAllocator\0")?;
        let set_raw = python.get::<SetAllocator>(b"PyMem_SetAllocator\0")?;
        let get_arenas = python.get::<GetArenas>(b"PyObject_GetArenaAllocator\0")?;
        let set_arenas = python.get::<SetArenas>(b"PyObject_SetArenaAllocator\0")?;
        get_raw(RAW, raw.as_mut_ptr());
        get_arenas(arenas.as_mut_ptr());
        let before = Before {
            raw: raw.assume_init(),
            arenas: arenas.assume_init(),
        };
        if BEFORE.set(before).is_err() {
            return Ok(());
        }
        let ctx = std::ptr::null_mut();
        set_raw(
            RAW,
            &Allocator {
                ctx,
                malloc: raw_malloc,
                calloc: raw_calloc,
                realloc: raw_realloc,
                free: raw_free,
            },
        );
        set_arenas(&Arenas {
            ctx,
            alloc: arena_alloc,
            free: arena_free,
        });
    }
    Ok(())
}

/// See the stub.
#[pyfunction]
pub(crate) fn memory_watch() -> PyResult<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    install().map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// See the stub.
#[pyfunction]
pub(crate) fn memory_enter(limit_bytes: usize) {
    HELD.set(0);
    MOST.set(0);
    LIMIT.set(limit_bytes);
}

/// See the stub.
#[pyfunction]
pub(crate) fn memory_leave() -> usize {
    LIMIT.set(0);
    MOST.get()
}
