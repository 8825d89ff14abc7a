// Single numbers: a / b and the root of a, correctly rounded, e to the power of a, and a * b + c in the device's
// arithmetic, which tells whether it fuses. Quotient and root begin with an estimate that is off by the bits of d, as a
// device's may be.
//include divide
//include root
//include exp
struct Params { count: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>; // [N]: quotient, root, power, sum
@group(0) @binding(1) var<storage, read> numbers: array<vec4<f32>>;   // [N]: a, b, c, d

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.count {
        let n = numbers[id.x];
        let odd = 1u - ((bitcast<u32>(n.x) >> 23u) & 1u);
        let ratio = bitcast<u32>(significand(n.x, 0u) / significand(n.y, 0u));
        let radical = bitcast<u32>(sqrt(significand(n.x, odd)));
        let quotient = divide_near(n.x, n.y, bitcast<f32>(ratio + bitcast<u32>(n.w)));
        let radix = root_near(n.x, bitcast<f32>(radical + 2u * bitcast<u32>(n.w)));
        out[id.x] = vec4<f32>(quotient, radix, exp_(n.x), fma(n.x, n.y, n.z));
    }
}
