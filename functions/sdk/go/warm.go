//go:build wasip1

package tiercel

// warm does what every event would otherwise be the first to do: the runtime keeps the state that it comes to, so the memory is grown
// and the allocator's lists are filled already. The handler is not called, and nothing of it can be seen.
func warm() {
	arena = make([]byte, arenaSize)
	for size := 8; size <= 4<<10; size *= 2 {
		kept = append(kept, make([]byte, size), make([]byte, size+size/2))
	}
	var ev Event
	err := ev.parse([]byte(`{"id":"x","time":"\u0032","data":{"output":"o","tags":["a","b"],"output_fields":{"a":1},"target":{"namespace":"n","pod":"p","podUID":"u"}}}`))
	if err != nil {
		return
	}
	request := Object{"a": Object{"b": List{ev.ID, ev.Time, 1, true}}, "c": ev.JSON, "d": []string{ev.Field("a").String()}}
	for range 4 {
		text, _ := AppendJSON(make([]byte, 0, 512), request)
		kept = append(kept, text)
	}
	kept, arenaAt, documentsAt = nil, 0, 0
}

// kept keeps the compiler from leaving out what is allocated for nothing.
var kept [][]byte
