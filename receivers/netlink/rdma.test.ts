import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { torture, walk } from '../../host/netlink/capture.ts';
import { netlinkRequest, type RequestAttribute } from '../../host/netlink/message.ts';
import { ProcRoot } from '../../host/proc-root.ts';
import { metrics } from './metrics.ts';
import { portValues, readPortFiles } from './rdma.ts';
import { counterRequest, readCounters, readDevice, readResources, takeRejects } from './rdma-codec.ts';

const u64 = (n: number): Buffer => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64LE(BigInt(n));
  return b;
};
const nldev = (command: number, attributes: readonly RequestAttribute[]) =>
  netlinkRequest((5 << 10) | command, 0, Buffer.alloc(0), attributes);
/** What nldev.c sends: names with a NUL, 64-bit values, entries in a nest. */
const device = nldev(1, [
  [1, 3],
  [2, 'mlx5_0'],
  [3, 2],
  [5, '16.35.2000'],
]);
const resources = nldev(9, [
  [1, 3],
  [2, 'mlx5_0'],
  [
    15,
    [
      [
        16,
        [
          [17, 'pd'],
          [18, u64(5)],
        ],
      ],
      [
        16,
        [
          [17, 'qp'],
          [18, u64(7_000_000_000)],
        ],
      ],
    ],
  ],
]);
const counters = nldev(17, [
  [1, 3],
  [3, 1],
  [
    80,
    [
      [
        81,
        [
          [82, 'out_of_buffer'],
          [83, u64(23)],
        ],
      ],
      [
        81,
        [
          [82, 'np_cnp_sent'],
          [83, u64(29)],
        ],
      ],
    ],
  ],
]);

test('devices, resources and counters are read', () => {
  walk([device], (m) => assert.deepEqual(readDevice(m), { index: 3, name: 'mlx5_0', ports: 2 }));
  walk([resources], (m) => {
    const read = readResources(m);
    assert.deepEqual(
      [read?.device, [...(read?.inUse ?? [])]],
      [
        'mlx5_0',
        [
          ['pd', 5],
          ['qp', 7_000_000_000],
        ],
      ],
    );
  });
  walk([counters], (m) =>
    assert.deepEqual(
      [...readCounters(m)],
      [
        ['out_of_buffer', 23],
        ['np_cnp_sent', 29],
      ],
    ),
  );
  walk([counterRequest(3, 1)], (m) => assert.equal(m.type, (5 << 10) | 17));
  assert.equal(takeRejects(), 0);
});

test('cut or changed anywhere: no throw', () => {
  torture([device, resources, counters], (m) => {
    readDevice(m);
    readResources(m);
    readCounters(m);
  });
  assert.ok(takeRejects() > 0);
});

test('port files: words become bytes, what a port does not support is absent', () => {
  const folder = mkdtempSync(join(tmpdir(), 'skl-rdma-'));
  const port = join(folder, 'class/infiniband/mlx5_0/ports/1');
  for (const [path, text] of [
    ['counters/port_rcv_data', '1000\n'],
    ['counters/port_xmit_packets', '17\n'],
    ['counters/VL15_dropped', 'N/A (no PMA)\n'],
    ['hw_counters/out_of_sequence', '3\n'],
    ['hw_counters/lifespan', '10\n'],
  ] as const) {
    mkdirSync(join(port, path, '..'), { recursive: true });
    writeFileSync(join(port, path), text);
  }
  const root = new ProcRoot({ sys: folder });
  assert.deepEqual([...readPortFiles(root, 'mlx5_0', 1, false).keys()].sort(), ['port_rcv_data', 'port_xmit_packets']);
  const files = readPortFiles(root, 'mlx5_0', 1, true);
  assert.equal(files.get('out_of_sequence'), 3);
  assert.equal(files.size, 3);
  const values = portValues('mlx5_0', 1, files).map((v) => [
    v.metric.name,
    v.attributes['network.io.direction'] ?? v.attributes['skoop.rdma.counter'],
    v.value,
  ]);
  assert.deepEqual(values.map(String).sort(), [
    'skoop.rdma.counters,out_of_sequence,3',
    'skoop.rdma.counters,port_rcv_data,1000',
    'skoop.rdma.counters,port_xmit_packets,17',
    'skoop.rdma.io,receive,4000',
    'skoop.rdma.packets,transmit,17',
  ]);
  rmSync(folder, { recursive: true });
});

test('KubeSkoop has 7 resources, 50 mlx5 and 55 erdma names, each once', () => {
  const names = metrics
    .filter((m) => m.name.startsWith('skoop.rdma.'))
    .flatMap((m) => m.kubeskoop ?? [])
    .map((k) => k.name);
  assert.equal(new Set(names).size, names.length);
  assert.equal(names.filter((n) => n.startsWith('kubeskoop_rdma_mlx5_')).length, 50);
  assert.equal(names.filter((n) => n.startsWith('kubeskoop_rdma_erdma_')).length, 55);
  assert.equal(names.length, 112);
});
