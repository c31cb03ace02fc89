// Package journal records what an invocation decided and did, before and after it did it, so that whoever takes over can go on and
// whoever asks can be told.
//
// Each running invocation has one subject of the stream JOURNAL. Its records are appended under compare-and-swap (Log), read back into a
// State, and when the invocation has ended sealed into one Action in the stream ACTIONS (Sealer). Attempts are claims: the first record
// of each says who holds the lease. A write is recorded as an intent, acknowledged, and only then done.
//
// The package leaves to others when to run, what to do (runtime) and how (runtime/capability). Read Record first, then Log and State.
package journal
