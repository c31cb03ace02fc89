package tiercel

import "github.com/tiercel-project/tiercel/functions/abi"

// An Entry is a value kept under one of the function's keys. Revision is 0 if there is none.
type Entry struct {
	Value    string
	Revision uint64
}

// KVGet returns the entry of a key; one that does not exist is no error.
func KVGet(key string) (Entry, error) {
	v, err := Call(abi.OpKVGet, Object{"key": key})
	return Entry{v.Get("value").String(), v.Get("revision").Uint()}, err
}

// KVPut sets a key, whatever it was, for ttlSeconds or, if that is 0, for ever. It returns the new revision.
func KVPut(key, value string, ttlSeconds int64) (revision uint64, err error) {
	return kvPut(Object{"key": key, "value": value}, ttlSeconds)
}

// KVUpdate is KVPut if the key's revision is still the one given (0: there is no such key); otherwise it returns an Error with CodeConflict.
func KVUpdate(key, value string, revision uint64, ttlSeconds int64) (newRevision uint64, err error) {
	return kvPut(Object{"key": key, "value": value, "revision": revision}, ttlSeconds)
}

func kvPut(request Object, ttlSeconds int64) (uint64, error) {
	if ttlSeconds > 0 {
		request["ttlSeconds"] = ttlSeconds
	}
	v, err := Call(abi.OpKVPut, request)
	return v.Get("revision").Uint(), err
}

// KVDelete removes a key; one that does not exist is no error.
func KVDelete(key string) error {
	_, err := Call(abi.OpKVDelete, Object{"key": key})
	return err
}
