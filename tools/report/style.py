"""The style sheets of the pages: light, dark and print, without external fonts or images.

Blue and orange can be distinguished with colour blindness. Shapes, signs and words repeat what a colour says.
"""

from __future__ import annotations

EVERY = """
:root{--page:#fbfaf8;--card:#fff;--ink:#1d2126;--quiet:#646b74;--rule:#e4e2dd;--good:#0067a3;--defect:#b84a00;
--unknown:#6e6e6e}
@media screen and (prefers-color-scheme:dark){:root{--page:#15171a;--card:#1d2024;--ink:#e8e6e3;--quiet:#9aa1ab;
--rule:#33373d;--good:#5bb3e8;--defect:#f0883e;--unknown:#a0a0a0}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:1120px;padding:clamp(20px,4vw,56px) clamp(16px,4vw,40px);background:var(--page);
color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
h1,h2,h3,p,dl,dd,figure,ol{margin:0}
.title{color:var(--quiet);margin-bottom:8px}
h1{font-size:clamp(26px,4.4vw,42px);line-height:1.15;letter-spacing:-.02em;font-weight:650;max-width:24em;
text-wrap:balance;overflow-wrap:normal}
.lead{margin-top:16px;max-width:46em}
section{margin-top:clamp(36px,5vw,56px)}
h2{font-size:19px;font-weight:650;letter-spacing:-.01em;padding-bottom:8px;margin-bottom:16px;
border-bottom:1px solid var(--rule)}
a{color:var(--good);text-underline-offset:2px}
.quiet{color:var(--quiet);font-size:14px}
svg{display:block;overflow:visible}
svg text{font-size:13px;fill:var(--quiet)}
svg .class{fill:var(--ink);stroke:var(--page);stroke-width:6px;paint-order:stroke}
svg .tick{text-anchor:middle}
svg .rail{stroke:var(--rule)}
svg .limit{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3}
svg .limit-name{fill:var(--ink);font-weight:600}
.dot{stroke-width:1.5}
.dot.good{fill:var(--page);stroke:var(--good);fill-opacity:.6}
.dot.defect{fill:var(--defect);stroke:var(--page);stroke-width:1}
.dot.unknown{fill:var(--unknown);stroke:var(--page);stroke-width:1}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:15px}
th,td{padding:8px 0 8px 20px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap;font-weight:400}
th:first-child{padding-left:0;text-align:left}
thead th{color:var(--quiet);font-size:13px;vertical-align:bottom}
td.none{color:var(--quiet);opacity:.55}
td.right{font-weight:650}
td.wrong{font-weight:650;color:var(--defect)}
td.wrong::after{content:" ✕";font-size:11px}
.span{color:var(--quiet)}
.legend{margin-bottom:28px;max-width:520px}
.legend img{display:block;width:100%;height:12px;border-radius:2px}
.ticks{position:relative;height:22px;font-size:13px;color:var(--quiet)}
.ticks span{position:absolute;top:2px;transform:translateX(-50%)}
.ticks b{color:var(--ink);font-weight:600}
.ticks span:nth-child(1){left:0;transform:none}
.ticks span:nth-child(2){left:25%}
.ticks span:nth-child(3){left:50%}
.ticks span:nth-child(4){left:75%}
.ticks span:nth-child(5){right:0;transform:none}
.legend figcaption{color:var(--quiet);font-size:14px;margin-top:6px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:24px}
.cards+*{margin-top:16px}
.card{background:var(--card);border:1px solid var(--rule);border-radius:6px;overflow:hidden;padding-bottom:16px;
scroll-margin-top:16px}
.card:target{outline:2px solid var(--ink)}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1px;background:var(--rule);margin-bottom:14px}
.pair img{display:block;width:100%;height:auto}
.card>:not(.pair){margin-left:16px;margin-right:16px}
h3{font-size:16px;font-weight:650}
.chips{display:flex;flex-wrap:wrap;align-items:center;gap:8px;margin-top:6px}
.chip{font-size:13px;font-weight:600;line-height:1;padding:5px 8px;border-radius:3px;border:1px solid currentColor}
.chip.good{color:var(--good)}
.chip.defect{color:var(--defect)}
.chip.cannot_judge{color:var(--unknown)}
.chip.mistake{background:var(--ink);color:var(--card);border-color:var(--ink)}
.score{margin-top:10px}
.card p:not([class]){font-size:15px;margin-top:2px}
.nearest{display:flex;align-items:center;gap:12px;margin-top:10px;font-size:14px;color:var(--quiet)}
.nearest img{display:block;width:56px;height:56px;object-fit:cover;border-radius:3px;flex:none}
dl>div{display:grid;grid-template-columns:7em 1fr;gap:0 16px;padding:8px 0;border-bottom:1px solid var(--rule)}
dt{color:var(--quiet);grid-row:1/99}
dd{grid-column:2}
.commands{padding:0;list-style:none;margin-top:12px}
.commands li{background:var(--card);border:1px solid var(--rule);border-radius:4px;padding:10px 14px;margin-top:8px;
overflow-x:auto}
code{font:14px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;white-space:pre}
@media (max-width:520px){th,td{padding-left:10px}table{font-size:14px}.span{display:none}
thead th:last-child{display:none}thead th{white-space:normal}dl>div{grid-template-columns:1fr}dd{grid-column:1}
dt{grid-row:auto}}
@media print{:root{color-scheme:only light}body{padding:0 8px;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.card,figure,tr,dl>div{break-inside:avoid}h2,h3{break-after:avoid}}
"""

EVALUATION = """
.lead{max-width:54em}
.lead+.lead{margin-top:6px}
.bar{stroke:none}
.bar.good{fill:var(--good);fill-opacity:.4}
.bar.defect{fill:var(--defect);fill-opacity:.4}
.bar.wrong{fill-opacity:1;stroke:var(--ink);stroke-width:1}
.verdicts th{white-space:normal}
.verdicts thead th{max-width:6em;overflow-wrap:normal}
.verdicts tbody th{min-width:6em}
.verdicts .total th,.verdicts .total td{border-top:2px solid var(--rule)}
.verdicts .part th{padding-left:16px}
.verdicts .sure{width:34%;max-width:none;text-align:left}
.sure div{display:flex;align-items:center;gap:2px 14px}
.sure span{flex:0 0 10.5em}
.sure svg{flex:1 1 0;min-width:0}
.sure small{font-size:inherit}
.sure small,.whole{white-space:nowrap}
.range{stroke:var(--ink);stroke-width:3;stroke-opacity:.45}
.share{fill:var(--ink)}
details{margin-top:12px}
summary{cursor:pointer;color:var(--good);padding:6px 0}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,160px),1fr));gap:24px 28px}
.figures>div{display:block;border:0;padding:0}
.figures dd{color:var(--quiet);font-size:14px}
.figures .value{color:var(--ink);font-size:30px;line-height:1.25;font-weight:650;letter-spacing:-.02em}
.figures .value.none{font-size:20px;line-height:37px;color:var(--quiet)}
.notes{margin:0;padding-left:20px;max-width:56em}
.notes li{margin-top:4px}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:32px 40px}
.curves figure{max-width:460px}
.curves h3{margin-bottom:10px}
.curves svg{width:100%;height:auto}
.curve{fill:none;stroke:var(--good);stroke-width:2.5;stroke-linejoin:round}
.counts{fill:var(--good);fill-opacity:.16}
.edge{stroke:var(--ink);stroke-width:1.5}
.chance{stroke:var(--quiet);stroke-dasharray:3 4}
.here{fill:var(--defect);stroke:var(--page);stroke-width:2}
svg .strong{fill:var(--ink);font-weight:600}
.outline{margin-top:-22px}
.group{margin:28px 0 12px;font-size:17px}
.blank{display:grid;place-content:center;min-height:140px;background:var(--card);color:var(--quiet);text-align:center}
.blank:only-child{grid-column:1/-1}
.gauge{margin-top:4px}
.worth{stroke-width:6}
.worth.under{stroke:var(--good)}
.worth.over{stroke:var(--defect)}
.big{font-size:22px;font-weight:650;margin-bottom:8px}
.big .quiet{font-weight:400}
.stages{max-width:640px}
.stages th{white-space:normal}
.stages .share-of{width:60%}
.stage{fill:var(--good);fill-opacity:.7}
@media screen and (max-width:760px){.verdicts .detail{display:none}
.verdicts,.verdicts thead,.verdicts tbody{display:block}
.verdicts tr{display:grid;grid-template-columns:4.3em 4.3em 3.6em 1fr;padding:6px 0 8px;
border-bottom:1px solid var(--rule)}
.verdicts th,.verdicts td{border:0!important;padding:0;text-align:left;max-width:none}
.verdicts tbody th{grid-column:1/-1;padding:0!important;font-weight:600}
.verdicts thead th:first-child{display:none}
.verdicts thead th{align-self:end}
.verdicts .sure{width:auto}
.sure div{display:block}
.sure svg{margin-top:1px}}
@media print{.sure div{display:block}summary{display:none}
details::details-content{content-visibility:visible;block-size:auto}}
"""

REVIEW = """
.lead+.lead{margin-top:8px}
.cards+.legend{margin:24px 0 8px}
.key{max-width:54em}
.said{max-width:54em}
.commands+.said{margin-top:12px}
.card .chips+p{margin-top:8px}
.card.excluded{border-style:dashed}
.card.wide{grid-column:1/-1}
.wide .pair{grid-template-columns:minmax(640px,1fr);gap:4px}
.small{grid-template-columns:repeat(auto-fill,minmax(min(100%,240px),1fr));gap:16px}
.small h3,.small .score{font-size:14px}
.small .score{margin-top:4px}
.small .pair{margin-bottom:10px}
.pair img{max-height:480px;object-fit:contain;background:var(--page)}
.sheet{list-style:none;margin:0;padding:0;display:grid;gap:14px 10px;
grid-template-columns:repeat(auto-fill,minmax(88px,1fr))}
.sheet.wide{grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr))}
.sheet img{display:block;width:100%;height:auto;max-height:160px;object-fit:contain;border-radius:3px}
.sheet .name{display:block;margin-top:3px;color:var(--quiet);font-size:12px;white-space:nowrap;overflow:hidden;
text-overflow:ellipsis}
@media screen and (max-width:520px){.small{grid-template-columns:1fr 1fr;gap:10px}
.small .card>:not(.pair){margin-left:10px;margin-right:10px}}
@media print{.wide .pair{grid-template-columns:1fr}.sheet li{break-inside:avoid}}
"""
