// Sorts assignments (token times A plus place) by expert, those of one expert as they came, and cuts each expert's slots
// into tiles; writes how many workgroups the products over the tiles have. Dispatch (1).
struct Params {
    assignments: u32,  // T * A
    per_token: u32,       // A
    tile_rows: u32,    // most slots of a tile
    gate_up_groups: u32, // workgroups of a tile: x of the two indirect dispatches
    down_groups: u32,
}
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> experts: array<u32>;            // [T, A]
@group(0) @binding(1) var<storage, read_write> slots: array<u32>;        // [T, A]: the slot of each assignment
@group(0) @binding(2) var<storage, read_write> tokens: array<u32>;       // [T * A]: the token of each slot
@group(0) @binding(3) var<storage, read_write> tiles: array<vec4<u32>>;  // expert, first slot, slots
@group(0) @binding(4) var<storage, read_write> dispatches: array<u32>;   // [2, 3]: workgroups x, y, z

var<workgroup> first_slots: array<u32, 256>; // sums of counts up to and with an expert
var<workgroup> first_tiles: array<u32, 256>; // likewise of tiles

// An expert an invocation.
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) expert: u32) {
    var count = 0u;
    for (var i = 0u; i < p.assignments; i += 1u) { count += select(0u, 1u, experts[i] == expert); }
    let num_tiles = (count + p.tile_rows - 1u) / p.tile_rows;
    first_slots[expert] = count;
    first_tiles[expert] = num_tiles;
    workgroupBarrier();
    for (var reach = 1u; reach < 256u; reach *= 2u) {
        var before = vec2<u32>(0u, 0u);
        if expert >= reach { before = vec2<u32>(first_slots[expert - reach], first_tiles[expert - reach]); }
        workgroupBarrier();
        first_slots[expert] += before.x;
        first_tiles[expert] += before.y;
        workgroupBarrier();
    }
    if expert == 0u {
        for (var product = 0u; product < 2u; product += 1u) {
            dispatches[3u * product] = select(p.gate_up_groups, p.down_groups, product == 1u);
            dispatches[3u * product + 1u] = first_tiles[255];
            dispatches[3u * product + 2u] = 1u;
        }
    }
    if count == 0u { return; }
    let first = first_slots[expert] - count;
    var slot = first;
    for (var i = 0u; i < p.assignments; i += 1u) {
        if experts[i] == expert {
            slots[i] = slot;
            tokens[slot] = i / p.per_token;
            slot += 1u;
        }
    }
    for (var tile = 0u; tile < num_tiles; tile += 1u) {
        let start = tile * p.tile_rows;
        let at = first_tiles[expert] - num_tiles + tile;
        tiles[at] = vec4<u32>(expert, first + start, min(p.tile_rows, count - start), 0u);
    }
}
