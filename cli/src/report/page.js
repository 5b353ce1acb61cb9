// Draws every chart of a page with uPlot, from the JSON inside its element: again when its place gets wider or narrower, and
// when the page turns dark or light.
(() => {
  const FONT = '12px system-ui, sans-serif';
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const faded = (name, share) => `color-mix(in srgb, ${colour(name)} ${Math.round(100 * share)}%, transparent)`;

  // Numbers with four significant digits at most, or as many decimals as a tick's distance asks for.
  const THIN = '\u202f';
  const spaced = digits => digits.replace(/\B(?=(\d{3})+(?!\d))/g, THIN);
  const decimalsOf = apart => {
    let decimals = 0;
    while (decimals < 10 && Math.abs(apart * 10 ** decimals - Math.round(apart * 10 ** decimals)) > 1e-6) decimals++;
    return decimals;
  };
  function number(value, apart) {
    if (value == null || !Number.isFinite(value)) return '–';
    const size = Math.abs(value);
    let text;
    if (size !== 0 && (size < 1e-4 || size >= 1e9)) {
      text = size.toExponential(apart ? Math.min(8, Math.max(0, Math.ceil(Math.log10(size / apart) - 1e-9))) : 2);
    } else {
      const decimals = apart ? decimalsOf(apart) : size === 0 ? 0 : Math.max(0, 3 - Math.floor(Math.log10(size)));
      const [whole, part] = size.toFixed(Math.min(decimals, 10)).split('.');
      text = spaced(whole) + (part ? `.${part}` : '');
    }
    return (value < 0 ? '−' : '') + text.replace('e-', 'e−').replace('e+', 'e');
  }

  // An axis of a chart: its ticks and what is written at them.
  function axis({ title, scale }, upright) {
    const own = {
      label: title, labelFont: FONT, labelSize: 20, font: FONT, stroke: () => colour('muted'),
      grid: { show: upright, stroke: () => colour('line'), width: 1 }, ticks: { stroke: () => colour('line'), width: 1, size: 5 },
      values: (_, places, __, ___, apart) => places.map(place => number(place, apart)),
    };
    if (upright) own.size = (_, texts) => 20 + 7.5 * Math.max(3, ...(texts || []).map(text => String(text ?? '').length));
    else [own.space, own.size] = [70, 32];
    if (scale === 'log') {
      own.splits = (_, __, low, high) => {
        const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
        const every = Math.max(1, Math.ceil((last - first) / 7));
        const powers = [];
        // Within a decade or two there is place for more than their powers.
        const between = last - first < 2 ? [1, 2, 5] : [1];
        for (let power = first - 1; power <= last; power++) {
          if ((power - first) % every === 0 || every === 1) powers.push(...between.map(times => times * 10 ** power));
        }
        return powers.filter(power => power >= low * (1 - 1e-9) && power <= high * (1 + 1e-9));
      };
      own.filter = (_, places) => places;
      own.values = (_, places) => places.map(place => {
        const power = Math.floor(Math.log10(place) + 1e-9);
        return Math.abs(power) <= 3 ? number(place, Math.min(10 ** power, 1)) : `${Math.round(place / 10 ** power)}e${power}`.replace('-', '−');
      });
    }
    if (scale.names) {
      const { names } = scale;
      own.incrs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000];
      // Nothing overprints: names are as far apart as the longest is wide, and one at the edge would be cut.
      const longest = 7 * Math.max(...names.map(name => name.length));
      own.space = longest + 14;
      own.values = (u, places) => places.map(place => {
        const at = u.valToPos(place, 'x');
        const fits = at >= 0.3 * longest - 40 && at <= u.bbox.width / devicePixelRatio - 0.5 * longest + 16;
        return Number.isInteger(place) && fits ? names[place] : null;
      });
    }
    return own;
  }

  const named = ({ scale }, place) => place == null ? '' : scale.names ? scale.names[place] ?? '–' : number(place);

  // Names of these places, the last first, as far as they do not overprint.
  function marked(own, marks, names) {
    own.splits = () => [...new Set(marks)].sort((a, b) => a - b);
    own.filter = (_, places) => places;
    own.values = (u, places) => {
      const taken = [];
      const wide = place => 3.6 * names[place].length;
      for (const place of new Set([...marks].reverse())) {
        const at = u.valToPos(place, 'x');
        if (taken.every(([other, width]) => Math.abs(at - other) > width + wide(place) + 8)) taken.push([at, wide(place), place]);
      }
      return places.map(place => taken.some(([, , other]) => other === place) ? names[place] : '');
    };
  }

  function lines({ x, y, lines, bands, reach, marks, data }) {
    const below = axis(x, false);
    if (marks.length && x.scale.names) marked(below, marks, x.scale.names);
    const few = column => column.filter(value => value != null).length < 25;
    // What is forecast begins where it is known: there is no point of it.
    const ahead = (u, index) => u.data[index].map((value, at) => value == null ? -1 : at).filter(at => at >= 0).slice(1);
    const one = ({ name, role, draw }, index) => ({
      label: name, stroke: () => colour(role), width: draw === 'line' ? 2 : 1.25, spanGaps: true,
      dash: draw === 'dashed' ? [6, 5] : undefined,
      points: {
        show: draw === 'points' || (draw !== 'dashed' && few(data[index + 1])), size: draw === 'points' ? 7 : 5, fill: () => colour(role),
        ...(draw === 'points' ? { filter: ahead } : {}),
      },
      value: (_, value) => value == null ? '' : number(value),
    });
    const range = (_, low, high) => {
      if (low == null) return [0, 1];
      if (y.scale === 'log') return uPlot.rangeLog(Math.min(low, ...reach), Math.max(high, ...reach), 10, true);
      const [least, most] = [Math.min(low, ...reach), Math.max(high, ...reach)];
      const air = most > least ? 0.06 * (most - least) : 0.1 * (Math.abs(most) || 1);
      // Zero is a floor, where it was asked for and nothing is below it.
      return [least === 0 && reach.includes(0) ? 0 : least - air, most + air];
    };
    const across = (_, low, high) => {
      const air = x.scale.names ? 0.03 * (high - low) || 0.5 : 0;
      return high > low ? [low - air, high + air] : [low - 0.5, high + 0.5];
    };
    return {
      height: 290,
      data,
      scales: { x: { time: false, range: across }, y: { range, ...(y.scale === 'log' ? { distr: 3 } : {}) } },
      axes: [below, axis(y, true)],
      padding: marks.length ? [null, 46, null, null] : undefined,
      series: [{ label: x.title, value: (_, place) => named(x, place) }, ...lines.map(one)],
      bands: bands.map(([upper, lower]) => ({ series: [upper + 1, lower + 1], fill: () => faded(lines[upper].role, 0.16) })),
      legend: {
        show: true,
        markers: {
          width: (_, index) => lines[index - 1]?.draw === 'line' ? 3 : 1.5, dash: (_, index) => lines[index - 1]?.draw === 'dashed' ? 'dashed' : 'solid',
          stroke: (_, index) => colour(lines[index - 1]?.role ?? 'muted'), fill: () => 'transparent',
        },
      },
    };
  }

  function heat({ name, steps, units, most }, place) {
    const told = place.previousElementSibling?.appendChild(document.createElement('em'));
    const draw = u => {
      const { ctx } = u;
      ctx.save();
      ctx.beginPath();
      ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
      ctx.clip();
      const [more, less] = [colour('lstm'), colour('rnn')];
      const edge = step => Math.round(u.valToPos(step - 0.5, 'x', true));
      units.forEach((values, unit) => {
        const [top, bottom] = [unit, unit + 1].map(row => Math.round(u.valToPos(units.length - row, 'y', true)));
        values.forEach((value, step) => {
          if (!value) return;
          ctx.globalAlpha = Math.min(1, Math.abs(value) / most);
          ctx.fillStyle = value > 0 ? more : less;
          ctx.fillRect(edge(step), top, edge(step + 1) - edge(step), bottom - top);
        });
      });
      ctx.restore();
    };
    const tell = u => {
      if (!told) return;
      const step = u.cursor.idx;
      const unit = u.cursor.top >= 0 ? Math.floor(units.length - u.posToVal(u.cursor.top, 'y')) : -1;
      const value = units[unit]?.[step];
      told.textContent = value == null ? '' : `unit ${unit}, step ${step} (${steps[step]}): ${number(value)}`;
    };
    const x = { title: 'step', scale: { names: steps } };
    return {
      height: 70 + 5 * units.length,
      data: [steps.map((_, step) => step), steps.map(() => null)],
      scales: { x: { time: false, range: (_, low, high) => [low - 0.5, high + 0.5] }, y: { range: () => [0, units.length] } },
      axes: [{ ...axis(x, false), label: place.closest('figure').querySelector('.plot:last-of-type') === place ? 'step' : undefined }, { ...axis({ title: 'unit', scale: 'linear' }, true), splits: () => [0, units.length], values: () => [units.length, 0].map(String), grid: { show: false } }],
      series: [{}, { label: name }],
      legend: { show: false },
      hooks: { draw: [draw], setCursor: [tell] },
    };
  }

  function lanes({ lanes }) {
    const end = Math.max(...lanes.flatMap(lane => lane.spans.map(span => span[1])));
    const draw = u => {
      const { ctx } = u;
      const dpr = devicePixelRatio;
      ctx.save();
      ctx.font = `${12 * dpr}px system-ui, sans-serif`;
      [ctx.textBaseline, ctx.textAlign] = ['bottom', 'left'];
      lanes.forEach((lane, row) => {
        const bottom = u.valToPos(lanes.length - row - 0.9, 'y', true);
        const top = u.valToPos(lanes.length - row - 0.5, 'y', true);
        ctx.fillStyle = colour('ink');
        ctx.fillText(lane.name, u.bbox.left + 2 * dpr, top - 2 * dpr);
        ctx.beginPath();
        ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
        ctx.fillStyle = colour('lstm');
        for (const [start, stop] of lane.spans) {
          const [from, to] = [u.valToPos(start, 'x', true), u.valToPos(stop, 'x', true)];
          // However short, it can be seen.
          ctx.fillRect(from, top, Math.max(dpr, to - from), bottom - top);
        }
      });
      ctx.restore();
    };
    return {
      height: 60 + 40 * lanes.length,
      data: [[0, end], [null, null]],
      scales: { x: { time: false }, y: { range: () => [0, lanes.length] } },
      axes: [axis({ title: 'time, ms', scale: 'linear' }, false), { show: false }],
      series: [{}, {}],
      legend: { show: false },
      hooks: { draw: [draw] },
    };
  }

  const KINDS = { lines, heat, lanes };

  // `page.html?figure=NAME` shows that figure alone.
  const alone = document.getElementById(new URLSearchParams(location.search).get('figure') ?? '');
  if (alone) document.querySelector('main').replaceChildren(alone);
  document.body.classList.toggle('alone', Boolean(alone));

  const places = [...document.querySelectorAll('.plot')].map(place => {
    const given = JSON.parse(place.querySelector('script').textContent);
    return { place, given, plot: null };
  });
  const width = place => Math.max(160, place.clientWidth);

  function draw(one) {
    const { place, given } = one;
    one.plot?.destroy();
    place.previousElementSibling?.querySelector('em')?.remove();
    const options = KINDS[given.kind](given, place);
    const key = place.closest('figure')?.id;
    const shared = place.closest('figure')?.querySelectorAll('.plot').length > 1;
    // What stands under the cursor is not shown where there is none, but has its place.
    const rest = u => u.root.classList.toggle('rests', u.cursor.left == null || u.cursor.left < 0);
    options.hooks = { ...options.hooks, ready: [rest], setCursor: [rest, ...(options.hooks?.setCursor ?? [])] };
    options.cursor = { points: { size: 7 }, ...(shared ? { sync: { key } } : {}) };
    if (shared) {
      // Steps are above each other.
      options.axes[1].size = () => 62;
      options.scales.x.range = (_, low, high) => [low - 0.5, high + 0.5];
    }
    options.width = width(place);
    options.pxAlign = true;
    one.plot = new uPlot(options, options.data, place);
  }

  places.forEach(draw);
  const watch = new ResizeObserver(entries => {
    for (const { target } of entries) {
      const one = places.find(one => one.place === target);
      if (one?.plot && Math.abs(one.plot.width - width(target)) > 1) one.plot.setSize({ width: width(target), height: one.plot.height });
    }
  });
  places.forEach(({ place }) => watch.observe(place));
  // For those who take a picture of it, once everything has its place.
  if (alone) setTimeout(() => { document.documentElement.dataset.height = Math.ceil(alone.getBoundingClientRect().height); }, 50);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => places.forEach(draw));
})();
