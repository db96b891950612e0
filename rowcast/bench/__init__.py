"""`rowcast bench`: what Rowcast costs on this machine, beside what one would use instead. Figures come out, nothing stays behind.

`names`        what can be measured
`run`          one measurement after the other, over one site
`site`         the servers, and a database for each measurement; `sizes` how much of everything, `machine` on what
`endings`      Ctrl-C, once
`parts`        bridge, web and rivals as processes: their CPU, their memory
`measurements` one module for each
`load`         streams and writers, in processes of their own on raw sockets
`rivals`       what is measured beside: a bare ASGI endpoint, a server that only answers, pg-sse
`reckoning`    percentiles, due times, ratios (pure); `figures` what becomes of them
`tables`       text and Markdown; `page` HTML, `plots` SVG

Time is what this measures, so it reads the clock itself. Never imported by what `rowcast bridge` and `rowcast web` need.
"""
