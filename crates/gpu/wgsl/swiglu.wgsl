// The clamped SwiGLU of rows whose even numbers are the gate and odd ones the up part. `swiglu` of the CPU.
// Dispatch (64 outputs each, T).
//include swiglu
struct Params { f: u32, limit: f32, alpha: f32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> gate_up: array<vec2<f32>>; // [T, F]
@group(0) @binding(1) var<storage, read_write> out: array<f32>;     // [T, F]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.f {
        let at = id.y * p.f + id.x;
        let pair = gate_up[at];
        out[at] = swiglu(pair.x, pair.y, p.limit, p.alpha);
    }
}
