import { bpfLaneOn } from './bpf-lane.ts';

bpfLaneOn('6.1');
