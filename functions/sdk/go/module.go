//go:build wasip1

package tiercel

import (
	"unsafe"

	"github.com/tiercel-project/tiercel/functions/abi"
)

//go:wasmimport tiercel_v1 input
func hostInput(ptr unsafe.Pointer, room uint32) uint32

//go:wasmimport tiercel_v1 output
func hostOutput(ptr unsafe.Pointer, n uint32)

//go:wasmimport tiercel_v1 call
func hostCall(op unsafe.Pointer, opLen uint32, request unsafe.Pointer, requestLen uint32, response unsafe.Pointer, room uint32) uint64

//go:wasmimport tiercel_v1 response
func hostResponse(ptr unsafe.Pointer, room uint32) uint32

//go:wasmimport tiercel_v1 log
func hostLog(level int32, ptr unsafe.Pointer, n uint32)

//go:wasmexport tiercel_handle
func tiercelHandle(n uint32) int32 {
	arenaAt, documentsAt = 0, 0
	event := alloc(int(n))
	hostInput(pointer(event), n)
	status, output := run(runtimeHost{}, event)
	hostOutput(pointer(output), uint32(len(output)))
	return status
}

//go:wasmexport tiercel_warm
func tiercelWarm() { warm() }

func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// runtimeHost is the runtime this module runs in.
type runtimeHost struct{}

// The room a response is given at first: most fit, and one call does it all.
const firstRoom = 8 << 10

func (runtimeHost) Call(op string, request []byte) ([]byte, error) {
	response := tail(firstRoom)
	room := uint32(len(response))
	answer := hostCall(unsafe.Pointer(unsafe.StringData(op)), uint32(len(op)), pointer(request), uint32(len(request)), pointer(response), room)
	status, n := uint32(answer>>32), uint32(answer)
	if n > room {
		response = make([]byte, n)
		hostResponse(pointer(response), n)
	} else {
		response = alloc(int(n))
	}
	if status == abi.CallOK {
		return response, nil
	}
	return nil, parseError(response)
}

func (runtimeHost) Log(level abi.Level, line string) {
	hostLog(int32(level), unsafe.Pointer(unsafe.StringData(line)), uint32(len(line)))
}
