//! A guest that leaves behind what it can, and reports what it finds: in its globals, on its heap, and in memory it grew.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};

use tiercel::Event;

tiercel::handle!(handle);

static CALLS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn handle(ev: &Event) -> tiercel::Result {
    tiercel::report("calls", CALLS.fetch_add(1, Ordering::Relaxed) + 1);
    LAST.with(|l| {
        tiercel::report("last", l.borrow().as_str());
        l.replace(ev.id.to_string());
    });
    KEPT.with(|k| {
        let mut k = k.borrow_mut();
        tiercel::report("kept", k.first().map_or("", |_| "something"));
        k.push(vec![b'k'; if ev.subject == "grow" { 12 << 20 } else { 4096 }]);
    });
    Ok(())
}
