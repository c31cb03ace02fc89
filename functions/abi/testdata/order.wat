;; order notes in what order a host runs its parts: the start section, _initialize, tiercel_warm, tiercel_handle. Each appends a letter;
;; the result's data has them.
(module
  (import "tiercel_v1" "output" (func $output (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "{\"outcome\":\"succeeded\",\"data\":{\"order\":\"")
  (data (i32.const 128) "\"}}")
  (global $at (mut i32) (i32.const 64))
  (func $note (param $c i32)
    (i32.store8 (global.get $at) (local.get $c))
    (global.set $at (i32.add (global.get $at) (i32.const 1))))
  (func $start (call $note (i32.const 115)))                    ;; s
  (start $start)
  (func (export "_initialize") (call $note (i32.const 105)))    ;; i
  (func (export "tiercel_warm") (call $note (i32.const 119)))   ;; w
  (func (export "tiercel_handle") (param i32) (result i32)
    (call $note (i32.const 104))                                ;; h
    (call $output (i32.const 16) (i32.const 40))
    (call $output (i32.const 64) (i32.sub (global.get $at) (i32.const 64)))
    (call $output (i32.const 128) (i32.const 3))
    (i32.const 0)))
