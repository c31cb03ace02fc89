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
	arenaAt, documentsAt, textsTaken = 0, 0, false
	event := allocText(int(n))
	hostInput(pointer(event), n)
	status, output := run(event)
	hostOutput(pointer(output), uint32(len(output)))
	return status
}

//go:wasmexport tiercel_warm
func tiercelWarm() { warm() }

func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// host is not needed here: operations go to the runtime.
type host struct{}

// The room a response is given at first: most fit, and one call does it all.
const firstRoom = 8 << 10

// perform performs an operation. pad bytes follow the response, and failed says whether that is an error.
func perform(op string, request []byte) (response []byte, failed bool, err error) {
	response = tail(firstRoom)
	room := uint32(max(len(response)-pad, 0))
	answer := hostCall(unsafe.Pointer(unsafe.StringData(op)), uint32(len(op)), pointer(request), uint32(len(request)), pointer(response), room)
	n := uint32(answer)
	response = allocText(int(n)) // what has been read, if there was room
	if n > room {
		hostResponse(pointer(response), n)
	}
	return response, answer>>32 != abi.CallOK, nil
}

func writeLine(level abi.Level, line []byte) { hostLog(int32(level), pointer(line), uint32(len(line))) }
