import { z } from 'zod';
import { duration } from '../../pipeline/fields.ts';

export const config = z.strictObject({
  max_frames: z.number().int().positive().max(128).default(16).describe('Frames kept of each stack, innermost first.'),
  refresh_interval: duration('30s').describe('How often to look whether kernel modules came or went.'),
  module_names: z
    .boolean()
    .default(false)
    .describe('Append the module to functions of modules: `br_forward+0x1C[bridge]`.'),
});
export type SymbolizeConfig = z.output<typeof config>;
