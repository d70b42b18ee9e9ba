"""What an operator sees of the line, and may do: one web page on this machine, and figures for Prometheus.

    page.py          the receiver of inspections: opens the server, remembers what the page shows
      │  memory.py           newest frames, counts per hour, scores and rejects, all bounded
      │  serving.py          the server in its own thread: how many connections, how long a request may take
      │  guard.py            who may ask: names of this machine, same origin; headers of every answer
    site.py          the addresses: what is shown, and what may be changed
      │  login.py            the token of a person, sessions
      │  view.py             the line as the page shows it, in words
      │  rejects.py          the last rejects and their pictures, from the evidence or from memory
      │  stops.py            the thresholds to choose from, and what each of them means
      │  changes.py          changes of bundles, in a process of their own
      │  metrics.py          /metrics
    browser/         what runs in the browser: one page, hand-written, without a framework

Starlette on uvicorn serves it. The server in Python's standard library is "not recommended for production" by its own
documentation: it takes a thread for each connection, and bounds neither their number nor their time.
"""
