package filter

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf/asm"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
)

// ErrTooLarge means that a condition makes a program that is longer than its jumps reach.
var ErrTooLarge = errors.New("condition too large for a program")

// maxInstructions keeps jumps within their 16 bits.
const maxInstructions = 32000

// An Env is what programs refer to: descriptors of maps, and where the running kernel keeps things.
type Env struct {
	Calls, Texts, Scratches, Counts, Programs, Processes, CgroupKinds, Destinations int // of the maps of package bpf
	Lives                                                                           map[Life]int
	Names                                                                           int // of a hash map made of Plan.Names
	Kernel                                                                          Offsets
	V1Controller                                                                    int // index in css_set.subsys; -1: none

	// Trie returns the descriptor of a map made of a trie.
	Trie func(*Trie) (int, error)
}

// Offsets are those of members of the kernel's structures, and the numbers of types that programs name.
type Offsets struct {
	TaskCred, TaskPID, TaskTGID, TaskGroupLeader, TaskLoginUID, TaskCgroups int16 // TaskLoginUID is -1 without CONFIG_AUDIT
	CredEUID, CredEGID                                                      int16
	CSSSetDefault, CSSSetSubsys, CSSCgroup                                  int16
	CgroupKN, CgroupRoot, CgroupLevel, KernfsID, RootHierarchy              int16
	Cast, TaskType                                                          int32 // bpf_rdonly_cast and struct task_struct; 0 before 6.2
}

// Next are the programs that a filter's programs go on to, by their index in the table of programs.
type Next struct {
	Capture uint8 // after the early one
	Emit    uint8 // after the late one
	Texts   uint8 // of an open that failed: what the late one goes to if the path as passed does not decide, to be called again
	Socket  bool  // the capture ends what the hooks of sockets noted for the call
	Flags   int   // position of an argument plus one that may have MSG_FASTOPEN, which makes another event too; 0: none
	Whole   bool  // the programs are not to have a part for each head of a path, which makes them long
	Short   bool  // the programs must be short, at the price of more look-ups
}

// Registers with a meaning throughout a program.
const (
	ctx  = asm.R6
	call = asm.R7 // struct call
	text = asm.R8 // struct texts, or of an open the struct text of the form in hand
	task = asm.R9 // to be read only
)

// Places on the stack.
const (
	slotKey     int16 = -8
	slotID      int16 = -24 // struct cgroup_key
	slotForm    int16 = -32 // struct texts
	slotScratch int16 = -40
	slotOther   int16 = -48 // 1: the other form is in hand
	slotName    int16 = -56 // where the process's name stands
	slotLeader  int16 = -64 // struct task_struct of the process's first thread, which helpers take
)

// Where things stand in the structures of package bpf.
const (
	callArgs      = int16(unsafe.Offsetof(bpf.SensorCall{}.Args))
	callResult    = int16(unsafe.Offsetof(bpf.SensorCall{}.Result))
	callRecord    = int16(unsafe.Offsetof(bpf.SensorCall{}.L) + unsafe.Offsetof(bpf.SensorCallLayout{}.Record))
	callVerdict   = int16(unsafe.Offsetof(bpf.SensorCall{}.Verdict))
	callFlags     = int16(unsafe.Offsetof(bpf.SensorCall{}.OpenFlags))
	callMode      = int16(unsafe.Offsetof(bpf.SensorCall{}.OpenMode))
	callKind      = int16(unsafe.Offsetof(bpf.SensorCall{}.OpenKind))
	callCgroup    = int16(unsafe.Offsetof(bpf.SensorCall{}.CgroupKind))
	callNames     = int16(unsafe.Offsetof(bpf.SensorCall{}.Names))
	textsForms    = int16(unsafe.Offsetof(bpf.SensorTexts{}.Forms))
	textsFirst    = int16(unsafe.Offsetof(bpf.SensorTexts{}.T))
	textSize      = int16(unsafe.Sizeof(bpf.SensorTexts{}.T[0]))
	textLen       = int16(unsafe.Offsetof(bpf.SensorTexts{}.T[0].Len))
	textBase      = int16(unsafe.Offsetof(bpf.SensorTexts{}.T[0].Base))
	textDir       = int16(unsafe.Offsetof(bpf.SensorTexts{}.T[0].Dir))
	textBytes     = int16(unsafe.Offsetof(bpf.SensorTexts{}.T[0].B))
	countDropped  = int16(unsafe.Offsetof(bpf.SensorFilterCount{}.Dropped))
	countSampled  = int16(unsafe.Offsetof(bpf.SensorFilterCount{}.Sampled))
	countEmitted  = int16(unsafe.Offsetof(bpf.SensorFilterCount{}.Emitted))
	countDown     = int16(unsafe.Offsetof(bpf.SensorFilterCount{}.Countdown))
	openInfo      = int16(unsafe.Sizeof(bpf.SensorHead{}) + unsafe.Sizeof(bpf.SensorSection{})) // in the scratch
	openCreated   = openInfo + int16(unsafe.Offsetof(bpf.SensorOpenInfo{}.Created))
	openRaw       = openInfo + int16(unsafe.Sizeof(bpf.SensorOpenInfo{})) // section of the path as passed
	formFirst     = 1
	formSecond    = 2
	execFlagsAt   = openInfo // of a process event's scratch
	lifeEmit      = 0        // in the tables of process events: PROCESS_EMIT
	slotOfLives   = 0        // in scratches: SLOT_PROCESS
	slotOfCalls   = 1        // SLOT_CALL
	callOfLives   = 1        // in calls: CURRENT_PROCESS
	kindFile      = 1
	kindDirectory = 2
)

// Programs are those of one event type. A nil one decides nothing.
type Programs struct {
	Early, Late asm.Instructions // of calls
	Life        asm.Instructions // of records about processes: see LifeOf
}

// Assemble makes the programs of f.
func (f *Filter) Assemble(p *Plan, env *Env, next Next) (Programs, error) {
	var out Programs
	late := f.Late()
	if f.early.Op != True || !late && f.task.Op != True {
		g := &generator{env: env, filter: f, plan: p, next: next}
		g.earlyProgram(!late)
		out.Early = g.ins
		if err := g.err(); err != nil {
			return Programs{}, err
		}
	}
	if late {
		g := &generator{env: env, filter: f, plan: p, next: next, late: true}
		g.lateProgram()
		if err := g.err(); err != nil {
			return Programs{}, err
		}
		out.Late = g.withFunctions()
	}
	if LifeOf(f.Type) != NoLife {
		g := &generator{env: env, filter: f, plan: p, next: next, life: LifeOf(f.Type)}
		g.lifeProgram()
		if err := g.err(); err != nil {
			return Programs{}, err
		}
		out.Life = g.withFunctions()
	}
	return out, nil
}

// Late reports whether f has a program that looks at what has been captured: paths, what an open found, the ends of a socket.
func (f *Filter) Late() bool {
	if hasSocket(f.Type) {
		return f.Expr.uses(func(t *Test) bool { return t.stage == StagePath })
	}
	return HasPaths(f.Type) && f.Expr.uses(func(t *Test) bool {
		return t.stage == StagePath || t.Fact == OpenKind || t.Fact == Created || f.Type == field.EventOpenat2 && t.Kind == Class && t.stage == StageCall
	})
}

// A generator writes one program.
type generator struct {
	env     *Env
	filter  *Filter
	plan    *Plan
	next    Next
	late    bool
	life    Life
	failed  error // what the programs refer to could not be made
	ins     asm.Instructions
	size    int
	label   string            // of the next instruction
	alias   map[string]string // labels of the same instruction
	labels  int
	inline  bool             // texts are looked for without a function
	pairs   [pairPlaces]bool // whose functions are called
	used    map[string]bool
	dropped [Stages]bool
}

func (g *generator) err() error {
	if g.failed != nil {
		return g.failed
	}
	if g.size > maxInstructions {
		return fmt.Errorf("%w: %s: %d instructions", ErrTooLarge, g.filter.Type, g.size)
	}
	for i := range g.ins {
		if to, ok := g.alias[g.ins[i].Reference()]; ok {
			g.ins[i] = g.ins[i].WithReference(to)
		}
	}
	return nil
}

func (g *generator) newLabel() string {
	g.labels++
	return fmt.Sprintf("l%d", g.labels)
}

// place puts a label on the next instruction.
func (g *generator) place(label string) {
	if g.label == "" {
		g.label = label
		return
	}
	if g.alias == nil {
		g.alias = map[string]string{}
	}
	g.alias[label] = g.label
}

func (g *generator) add(ins ...asm.Instruction) {
	for _, i := range ins {
		if g.label != "" {
			i = i.WithSymbol(g.label)
			g.label = ""
		}
		if ref := i.Reference(); ref != "" {
			if g.used == nil {
				g.used = map[string]bool{}
			}
			g.used[ref] = true
		}
		g.size++
		if i.OpCode.IsDWordLoad() {
			g.size++
		}
		g.ins = append(g.ins, i)
	}
}

func (g *generator) jump(label string) { g.add(asm.Ja.Label(label)) }

// lookup makes R0 the value of an array's index, and leaves if there is none.
func (g *generator) lookup(fd int, index uint32) {
	g.add(
		asm.StoreImm(asm.RFP, slotKey, int64(index), asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, int32(slotKey)),
		asm.LoadMapPtr(asm.R1, fd),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
	)
}

// prologue makes the registers of what e looks at.
func (g *generator) prologue(e *Expr) {
	g.add(asm.Mov.Reg(ctx, asm.R1))
	if g.life != NoLife {
		g.lookup(g.env.Calls, callOfLives)
	} else {
		g.lookup(g.env.Calls, 0)
	}
	g.add(asm.Mov.Reg(call, asm.R0))
	leader, numbers := e.uses(needsLeader), e.uses(needsTask)
	if !leader && !numbers {
		return
	}
	g.add(asm.FnGetCurrentTaskBtf.Call())
	if leader {
		g.add(asm.LoadMem(asm.R1, asm.R0, g.env.Kernel.TaskGroupLeader, asm.DWord), asm.StoreMem(asm.RFP, slotLeader, asm.R1, asm.DWord))
	}
	if numbers {
		g.castTask()
		g.add(asm.Mov.Reg(task, asm.R0))
	}
}

// castTask makes the task in R0 one that is read only. For each pointer that is read from one that helpers take, the verifier searches all of the
// kernel's types several times (btf_nested_type_is_trusted, 6.3): a millisecond whenever it comes by.
func (g *generator) castTask() {
	if g.env.Kernel.Cast == 0 {
		return
	}
	g.add(
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.Mov.Imm(asm.R2, g.env.Kernel.TaskType),
		asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoKfuncCall, Constant: int64(g.env.Kernel.Cast)},
	)
}

// needsTask reports whether t looks at the task.
func needsTask(t *Test) bool {
	switch t.Fact {
	case UID, GID, LoginUID, PID, TID, CgroupKind:
		return true
	}
	return false
}

// needsLeader reports whether t looks at the process's name.
func needsLeader(t *Test) bool { return t.Fact == Name }

// earlyProgram looks at the call, and if it is all that there is, at its task.
func (g *generator) earlyProgram(last bool) {
	f := g.filter
	exprs := []*Expr{f.early}
	if last {
		exprs = append(exprs, f.task)
	}
	g.prologue(exprs[len(exprs)-1])
	if g.next.Flags != 0 {
		const fastopen = 0x20000000
		g.add(asm.LoadMem(asm.R1, call, callArgs+int16(8*(g.next.Flags-1)), asm.Word), asm.JSet.Imm(asm.R1, fastopen, "goon"))
	}
	for stage, e := range exprs {
		if e.Op == True || stage > 0 && e.key == exprs[0].key {
			continue
		}
		if stage == int(StageTask) {
			g.taskFacts(e)
		}
		g.stage(e, Stage(stage), g.dropLabel(Stage(stage)))
	}
	g.place("pass")
	if last {
		g.count(countEmitted)
	}
	g.epilogue(g.next.Capture)
}

// lateProgram looks at the paths, and then at what costs more. An open is looked at once for each form of its path.
func (g *generator) lateProgram() {
	f := g.filter
	g.prologue(f.Expr)
	g.add(asm.LoadMem(asm.R1, call, callVerdict, asm.Word), asm.JSet.Imm(asm.R1, int32(bpf.SensorVerdictVERDICT_DROP), "goon"))
	if !hasSocket(f.Type) {
		g.lookup(g.env.Texts, 0)
		g.add(asm.Mov.Reg(text, asm.R0), asm.StoreMem(asm.RFP, slotForm, text, asm.DWord))
	}
	fail := g.dropLabel
	paths := f.Expr.uses(func(t *Test) bool { return t.stage == StagePath })
	switch {
	case opens(f.Type):
		g.openFacts(paths)
		if !paths {
			break
		}
		fail = func(s Stage) string { return g.dropLabel(s) + "form" }
	case hasSocket(f.Type):
	default:
		for _, s := range []Subject{First, Second} {
			if f.Expr.uses(func(t *Test) bool { return t.Subject == s }) {
				g.add(asm.LoadMem(asm.R1, text, textOffset(s)+textLen, asm.Word), asm.JGT.Imm(asm.R1, maxText, "pass"))
			}
		}
	}
	switch {
	case hasSocket(f.Type):
		g.inStages(f.Expr, fail)
	case opens(f.Type):
		g.byHead(Opened, fail)
	default:
		g.byHead(First, fail)
	}
	g.place("pass")
	g.count(countEmitted)
	g.place("goon")
	g.tailCall(g.next.Emit)
	if opens(f.Type) {
		g.sketched()
		g.otherForm(StagePath)
		g.otherForm(StageTask)
	}
	g.drops(g.next.Emit)
}

// lifeProgram looks at a record about a process, which it finds in the scratch.
func (g *generator) lifeProgram() {
	f := g.filter
	exprs, all := []*Expr{f.early, f.task, f.Expr}, f.Expr
	if f.likely != nil {
		exprs, all = exprs[:2], &Expr{Op: Or, Kids: []*Expr{f.likely, f.broad}}
	}
	g.prologue(all)
	if all.uses(func(t *Test) bool { return t.stage == StagePath }) {
		g.lookup(g.env.Scratches, slotOfLives)
		g.add(asm.StoreMem(asm.RFP, slotScratch, asm.R0, asm.DWord))
	}
	before, known := always, false
	facts := func() {
		if !known {
			g.taskFacts(all)
			known = true
		}
	}
	for stage, e := range exprs {
		if e.key == before.key {
			continue
		}
		if before = e; stage > 0 {
			facts()
		}
		g.stage(e, Stage(stage), g.dropLabel(Stage(stage)))
	}
	if f.likely != nil {
		facts()
		g.parts()
	}
	if f.likely == nil || g.used["pass"] {
		g.place("pass")
		g.verdict(bpf.SensorVerdictVERDICT_LIKELY)
	}
	g.place("emitted")
	g.count(countEmitted)
	g.epilogue(lifeEmit)
}

// parts tells what one of the likely rules may match from what only the broad ones may.
func (g *generator) parts() {
	on := g.newLabel()
	g.eval(g.filter.likely, "pass", on, on)
	g.place(on)
	g.stage(g.filter.broad, StagePath, g.dropLabel(StagePath))
	g.verdict(bpf.SensorVerdictVERDICT_BROAD)
	g.jump("emitted")
}

func (g *generator) verdict(v bpf.SensorVerdict) {
	g.add(asm.Mov.Imm(asm.R1, int32(v)), asm.StoreMem(call, callVerdict, asm.R1, asm.Word))
}

// textOffset is where the text of s stands from the text register.
func textOffset(s Subject) int16 {
	switch s {
	case First:
		return textsFirst
	case Second:
		return textsFirst + textSize
	}
	return 0 // the register points to the form in hand
}

// openFacts takes the form of the path in hand that is to be looked at first. What varies stands in memory, not on the stack: the verifier
// would follow each value of it.
func (g *generator) openFacts(paths bool) {
	g.lookup(g.env.Scratches, slotOfCalls)
	g.add(
		asm.StoreMem(asm.RFP, slotScratch, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, slotOther, asm.R1, asm.DWord),
	)
	if !paths {
		return
	}
	g.add(
		asm.LoadMem(asm.R1, text, textsForms, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "sketched"),
		asm.JSet.Imm(asm.R1, formSecond, "second"),
		asm.Add.Imm(text, int32(textsFirst)),
		asm.Ja.Label("form"),
		asm.Add.Imm(text, int32(textsFirst+textSize)).WithSymbol("second"),
		asm.LoadMem(asm.R1, text, textLen, asm.Word).WithSymbol("form"),
		asm.JGT.Imm(asm.R1, maxText, "pass"),
		asm.JEq.Imm(asm.R1, 0, "pass"),
	)
}

// sketched looks at an open that failed, of which nothing is captured yet but the path as passed.
func (g *generator) sketched() {
	if !g.used["sketched"] {
		return
	}
	g.place("sketched")
	raw := g.filter.Expr.known(func(t *Test) bool { return t.stage == StageCall || t.Subject == Raw })
	if raw.Op != True {
		g.inline = true // it stands here once
		g.stage(raw, StagePath, g.dropLabel(StagePath))
	}
	g.tailCall(g.next.Texts)
}

// otherForm takes the first text in hand where the second was, if the two differ; else the event is dropped.
func (g *generator) otherForm(s Stage) {
	drop := g.dropLabel(s)
	if !g.used[drop+"form"] {
		return
	}
	g.place(drop + "form")
	g.add(
		asm.LoadMem(asm.R2, asm.RFP, slotOther, asm.DWord),
		asm.JNE.Imm(asm.R2, 0, drop),
		asm.LoadMem(asm.R1, asm.RFP, slotForm, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, textsForms, asm.Word),
		asm.JNE.Imm(asm.R2, formFirst|formSecond, drop),
		asm.Mov.Imm(asm.R2, 1), // on the stack, where the verifier sees that this ends
		asm.StoreMem(asm.RFP, slotOther, asm.R2, asm.DWord),
		asm.Mov.Reg(text, asm.R1),
		asm.Add.Imm(text, int32(textsFirst)),
		asm.Ja.Label("form"),
	)
}

func (g *generator) dropLabel(s Stage) string { return "drop" + s.String() }

// stage evaluates e: it goes on if e is true.
func (g *generator) stage(e *Expr, s Stage, fail string) {
	on := g.newLabel()
	g.eval(e, on, fail, on)
	g.place(on)
	g.dropped[s] = true
}

// count adds one to a counter of the event type, whose counters R0 then is.
func (g *generator) count(offset int16) {
	g.lookup(g.env.Counts, uint32(g.filter.Type))
	g.increment(offset)
}

func (g *generator) increment(offset int16) {
	g.add(
		asm.LoadMem(asm.R1, asm.R0, offset, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, offset, asm.R1, asm.DWord),
	)
}

func (g *generator) tailCall(program uint8) {
	programs := g.env.Programs
	if g.life != NoLife {
		programs = g.env.Lives[g.life]
	}
	g.add(
		asm.Mov.Reg(asm.R1, ctx),
		asm.LoadMapPtr(asm.R2, programs),
		asm.Mov.Imm(asm.R3, int32(program)),
		asm.FnTailCall.Call(),
	)
	g.jump("out")
}

// epilogue ends an early program.
func (g *generator) epilogue(program uint8) {
	g.place("goon")
	g.tailCall(program)
	g.drops(program)
}

// drops ends a program: what no rule can match is counted, and leaves the kernel only to be checked or for the recorder.
func (g *generator) drops(program uint8) {
	const verdictDrop, verdictEmit = int32(bpf.SensorVerdictVERDICT_DROP), int32(bpf.SensorVerdictVERDICT_EMIT)
	any := false
	for s := range Stages {
		if !g.used[g.dropLabel(s)] {
			continue
		}
		if any {
			g.jump("dropped")
		}
		any = true
		g.place(g.dropLabel(s))
		g.count(countDropped + 8*int16(s))
	}
	if any {
		g.place("dropped")
		if !g.plan.opts.Shadow {
			g.sample()
		}
		g.add(asm.Mov.Imm(asm.R1, verdictDrop|verdictEmit), asm.StoreMem(call, callVerdict, asm.R1, asm.Word))
		g.jump("goon")
		if g.used["leave"] {
			g.leave()
		}
	}
	g.place("out")
	g.add(asm.Mov.Imm(asm.R0, 0), asm.Return())
}

// sample leaves unless this drop is one of those to be checked.
func (g *generator) sample() {
	g.add(
		asm.LoadMem(asm.R1, asm.R0, countDown, asm.DWord),
		asm.Sub.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, countDown, asm.R1, asm.DWord),
		asm.JSGT.Imm(asm.R1, 0, "leave"),
	)
	g.increment(countSampled)
	g.add(
		asm.StoreMem(asm.RFP, slotID, asm.R0, asm.DWord),
		asm.FnGetPrandomU32.Call(),
		asm.Mod.Imm32(asm.R0, 2*SampleEvery),
		asm.Add.Imm(asm.R0, 1),
		asm.LoadMem(asm.R1, asm.RFP, slotID, asm.DWord),
		asm.StoreMem(asm.R1, countDown, asm.R0, asm.DWord),
	)
}

// leave ends a call that is dropped, but for what the flight recorder says of it.
func (g *generator) leave() {
	g.place("leave")
	if g.life != NoLife { // the process table wants it
		g.add(asm.Mov.Imm(asm.R1, int32(bpf.SensorVerdictVERDICT_DROP)), asm.StoreMem(call, callVerdict, asm.R1, asm.Word))
		g.jump("goon")
		return
	}
	g.add(
		asm.LoadMem(asm.R1, call, callRecord, asm.Byte),
		asm.JEq.Imm(asm.R1, 0, "forget"),
	)
	g.tailCall(uint8(bpf.SensorCallProgramCALL_RECORD))
	g.place("forget")
	if !g.next.Socket {
		return
	}
	// What the hooks noted of the call: its capture would have forgotten it.
	g.add(
		asm.FnGetCurrentTaskBtf.Call(),
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.LoadMapPtr(asm.R1, g.env.Destinations),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnTaskStorageGet.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.StoreImm(asm.R0, 0, 0, asm.Word),
	)
}

// isCreat reports whether the flags of t are those of creat, which has no argument for them.
func isCreat(t field.EventType) bool { return t == field.EventCreat }
