// The runtime's functions.

// @ts-ignore: decorator
@external("tiercel_v1", "input")
export declare function hostInput(to: usize, room: u32): u32;

// @ts-ignore: decorator
@external("tiercel_v1", "output")
export declare function hostOutput(from: usize, n: u32): void;

// @ts-ignore: decorator
@external("tiercel_v1", "call")
export declare function hostCall(op: usize, opLen: u32, request: usize, requestLen: u32, response: usize, room: u32): u64;

// @ts-ignore: decorator
@external("tiercel_v1", "response")
export declare function hostResponse(to: usize, room: u32): u32;

// @ts-ignore: decorator
@external("tiercel_v1", "log")
export declare function hostLog(level: i32, text: usize, n: u32): void;
