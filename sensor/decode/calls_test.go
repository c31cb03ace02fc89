package decode

import (
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
)

func TestCallTables(t *testing.T) {
	ia32 := map[int]field.EventType{
		5: field.EventOpen, 11: field.EventExecve, 8: field.EventCreat, 10: field.EventUnlink, 295: field.EventOpenat, 362: field.EventConnect,
		213: field.EventSetuid, 23: field.EventSetuid, 437: field.EventOpenat2, 212: field.EventChown, 52: field.EventUmount2, 22: field.EventUmount,
	}
	for nr, want := range ia32 {
		if got := IA32Calls()[nr]; got != want {
			t.Errorf("ia32 call %d: got %s, want %s", nr, got, want)
		}
	}
	for nr, want := range map[int]field.EventType{3: field.EventConnect, 11: field.EventSendto, 18: field.EventAccept4} {
		if got := SocketCalls()[nr]; got != want {
			t.Errorf("socketcall %d: got %s, want %s", nr, got, want)
		}
	}
	for nr, want := range nativeSamples {
		if got := NativeCalls()[nr]; got != want {
			t.Errorf("call %d: got %s, want %s", nr, got, want)
		}
	}
}

// Every call that the stock rules name has a number here, under one ABI at least.
func TestStockEventsHaveNumbers(t *testing.T) {
	var have field.EventSet
	for _, table := range [][]field.EventType{NativeCalls(), IA32Calls(), SocketCalls()} {
		for _, typ := range table {
			have.Add(typ)
		}
	}
	for _, typ := range field.EventTypes() {
		if typ.Info().Kind == field.Syscall && !have.Has(typ) && !merged[typ] {
			t.Errorf("%s has no number", typ)
		}
	}
}

// merged are event types that no call of these ABIs has under their name: Falco's name for calls it does not know.
var merged = map[field.EventType]bool{field.EventSyscall: true}
