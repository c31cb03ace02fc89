package abi

// Keys are the function's own: no other function sees them. They have 1 to 256 bytes of [A-Za-z0-9_=/-] and ".", none at either end
// and no two in a row. Values are text of at most 256 KiB. All that a function keeps is bounded too: a put beyond that is too_large, and one for which all functions
// together have left no room is unavailable.

// KVGet is the request of kv.get.
type KVGet struct {
	Key string `json:"key"`
}

// KVEntry is the response of kv.get. A key that does not exist has revision 0; that is no error.
type KVEntry struct {
	Value    string `json:"value,omitempty"`
	Revision uint64 `json:"revision"`
}

// KVPut is the request of kv.put.
type KVPut struct {
	Key      string  `json:"key"`
	Value    string  `json:"value"`
	Revision *uint64 `json:"revision,omitempty"`   // must be the entry's; 0: it must not exist; absent: any
	TTL      int64   `json:"ttlSeconds,omitempty"` // 0: for ever
}

// KVRevision is the response of kv.put.
type KVRevision struct {
	Revision uint64 `json:"revision"`
	DryRun   bool   `json:"dryRun,omitempty"`
}

// KVDelete is the request of kv.delete. Deleting what does not exist succeeds.
type KVDelete struct {
	Key      string  `json:"key"`
	Revision *uint64 `json:"revision,omitempty"`
}
