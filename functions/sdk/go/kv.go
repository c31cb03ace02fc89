package tiercel

import (
	"strconv"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// An Entry is a value kept under one of the function's keys. Revision is 0 if there is none.
type Entry struct {
	Value    string
	Revision uint64
}

// KVGet returns the entry of a key; one that does not exist is no error.
func KVGet(key string) (Entry, error) {
	v, err := newRequest().key("key").appendText(key).send(abi.OpKVGet)
	return Entry{v.get("value").String(), v.get("revision").Uint()}, err
}

// KVPut sets a key, whatever it was, for ttlSeconds or, if that is 0, for ever. It returns the new revision.
func KVPut(key, value string, ttlSeconds int64) (revision uint64, err error) {
	return kvPut(newRequest().key("key").appendText(key), value, ttlSeconds)
}

// KVUpdate is KVPut if the key's revision is still the one given (0: there is no such key); otherwise it returns an Error with CodeConflict.
func KVUpdate(key, value string, revision uint64, ttlSeconds int64) (newRevision uint64, err error) {
	q := newRequest().key("key").appendText(key).key("revision")
	return kvPut(strconv.AppendUint(q, revision, 10), value, ttlSeconds)
}

func kvPut(q request, value string, ttlSeconds int64) (uint64, error) {
	if ttlSeconds > 0 {
		q = q.number("ttlSeconds", ttlSeconds)
	}
	v, err := q.key("value").appendText(value).send(abi.OpKVPut)
	return v.get("revision").Uint(), err
}

// KVDelete removes a key; one that does not exist is no error.
func KVDelete(key string) error {
	_, err := newRequest().key("key").appendText(key).send(abi.OpKVDelete)
	return err
}
