// Package revert undoes what invocations did: when revert.after has gone by, or when somebody asks.
//
// A revert is an invocation of its own, <invocation>/revert/<n>, with a journal and a sealed action like any other. It first fences the
// invocation it reverts (a tombstone in its journal, and a lease's wait if it is running), so that no effect can come after its undoing,
// then carries out the inverses, the latest effect first. Open entries in the bucket of state say what is still to be undone, and are
// the truth; timers are the fast path to them.
//
// How an effect is undone is runtime/capability's. Read Request first, then Reverter.
package revert
