import { denialText } from '../../host/denials.ts';
import { NetnsInventory } from '../../host/netns/inventory.ts';
import { isDenied, type ProcRoot } from '../../host/proc-root.ts';
import type { ComponentContext, Finding } from '../../pipeline/component.ts';

/** Which processes this one may look into, for `skoopline doctor`. */
export async function diagnose(root: ProcRoot, context: ComponentContext): Promise<readonly Finding[]> {
  const inventory = new NetnsInventory(root, context.clock);
  const found = await inventory.scanAsync();
  const { processes: unreadable, podUids } = inventory.unreadable();
  const pids = found.flatMap((n) => n.pids).filter((pid) => inventory.process(pid)?.kernelThread === false);
  const unlisted = pids.filter((pid) => mayNotList(root, pid)).length;
  const pods = inventory.podProcesses().size;
  const notes = [
    ...(unreadable > 0 ? [`${denialText('processes', root)} (${unreadable} processes of ${podUids.size} pods)`] : []),
    ...(unlisted > 0 ? [`${denialText('descriptors', root)} (${unlisted} processes)`] : []),
  ];
  return [
    {
      subject: 'processes',
      status: notes.length === 0 ? 'ok' : 'partial',
      text: `${pids.length} of ${pids.length + unreadable} can be looked into, ${pods} pods, ${found.length} network namespaces`,
      ...(notes.length > 0 && { notes }),
      data: { readable: pids.length, unreadable, unlisted, pods, namespaces: found.length },
    },
  ];
}

function mayNotList(root: ProcRoot, pid: number): boolean {
  try {
    root.list(root.proc(pid, 'fd'));
    return false;
  } catch (error) {
    return isDenied(error);
  }
}
