"""Medians over rounds, ratios, and the table of them as Markdown."""
import statistics

PEERS = ['PyTorch', 'oneDNN, convolutions alone', 'onnxruntime']


def entry(peer, rounds):
    return {'peer': peer, 'median_ms': 1e3 * statistics.median(rounds), 'rounds_ms': [1e3 * r for r in rounds]}


def rows(results, flops):
    """results: {work: {peer: [seconds of every round]}}; of PyTorch's two memory formats the faster one is kept."""
    table = []
    for work, peers in results.items():
        row = {'work': work.name, 'title': work.title, 'ours': entry('unetstar', peers['ours']), 'peers': {}}
        row['ours']['gflops'] = flops(work) / row['ours']['median_ms'] * 1e-6
        torch = [entry(name, peers[name]) for name in ('PyTorch NCHW', 'PyTorch channels-last') if peers.get(name)]
        if torch:
            row['peers']['PyTorch'] = min(torch, key=lambda e: e['median_ms'])
            row['torch'] = torch
        for name in PEERS[1:]:
            if peers.get(name):
                row['peers'][name] = entry(name, peers[name])
        for peer in row['peers'].values():
            peer['ratio'] = peer['median_ms'] / row['ours']['median_ms']
        table.append(row)
    return table


def aligned(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for number, line in enumerate(lines):
        cells = [cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))]
        yield '| ' + ' | '.join(cells) + ' |'
        if number == 0:
            yield '|' + '|'.join('-' * (w + 2) if i == 0 else '-' * (w + 1) + ':' for i, w in enumerate(widths)) + '|'


def markdown(table):
    """A column only for peers that were there."""
    names = [name for name in PEERS if any(name in row['peers'] for row in table)]
    lines = [['work', 'unetstar ms', 'rounds', 'GFLOP/s'] + [n for name in names for n in (f'{name} ms', 'ratio')]]
    for row in table:
        ours = row['ours']
        line = [row['title'], f'{ours["median_ms"]:.1f}',
                f'{min(ours["rounds_ms"]):.1f} .. {max(ours["rounds_ms"]):.1f}', f'{ours["gflops"]:.0f}']
        for name in names:
            peer = row['peers'].get(name)
            line += [f'{peer["median_ms"]:.1f}', f'{peer["ratio"]:.2f}'] if peer else ['', '']
        lines.append(line)
    return '\n'.join(aligned(lines)) + '\n'
