import type { KernelSymbol } from '../../host/symbols/kallsyms.ts';

/**
 * Frames between the kernel function a probe watches and the probe: tracepoint and kprobe machinery, trampolines, the program itself.
 * They are the same on every stack and say nothing about the packet.
 */
const plumbing =
  /^(bpf_prog_|bpf_trace_run|__bpf_trace_|__traceiter_|bpf_trampoline_|bpf_dispatcher_|__bpf_prog_|bpf_get_stack|trace_call_bpf|perf_trace_|perf_call_bpf_|kprobe_|kretprobe_|__kretprobe_|rethook_|arch_rethook_|optimized_callback|opt_pre_handler|aggr_pre_handler|ftrace_(call|caller|regs_call|regs_caller|ops_|stub)|arch_ftrace_|ftrace_trampoline|fprobe_|return_to_handler|do_int3|exc_int3|asm_exc_int3|notify_die|notifier_call_chain|brk_handler|do_debug_exception|el1_dbg|el1h_64_sync)/;

export interface StackOptions {
  readonly maxFrames: number;
  readonly moduleNames: boolean;
}

/** `tcp_v4_rcv+0x1A2`, as the kernel writes it in upper case and KubeSkoop did. */
export function frameText(symbol: KernelSymbol, moduleNames: boolean): string {
  const text = `${symbol.name}+0x${symbol.offset.toString(16).toUpperCase()}`;
  return moduleNames && symbol.module !== undefined ? `${text}[${symbol.module}]` : text;
}

/**
 * Names the frames of a stack. Frames without a name at its start are the probe's own code and are cut with the plumbing; later ones
 * stay as addresses.
 *
 * @param addresses hexadecimal, innermost first
 */
export function nameStack(
  addresses: readonly string[],
  lookup: (address: string) => KernelSymbol | undefined,
  options: StackOptions,
): string[] {
  const out: string[] = [];
  for (const address of addresses) {
    if (out.length >= options.maxFrames) break;
    const symbol = lookup(address);
    if (out.length === 0 && (symbol === undefined || plumbing.test(symbol.name))) continue;
    out.push(symbol ? frameText(symbol, options.moduleNames) : `0x${address}`);
  }
  // Nothing but plumbing is better than nothing at all.
  return out.length > 0 ? out : addresses.slice(0, options.maxFrames).map((a) => `0x${a}`);
}
