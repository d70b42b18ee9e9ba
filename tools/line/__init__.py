"""The service at the line: from a camera's trigger to the reject gate, without anyone watching.

    trigger          a frame of the camera, or a message that asks for one
      │  station.py          one camera: each trigger is entered in its ledger
    ledger           exactly one decision for each trigger, in order, by its deadline
      │  judge.py            one thread scores the frames of all cameras, earliest deadline first
    decision         good, defect, cannot_judge or late, and what the gate does
      │  courier.py          one thread and one bounded queue for each output, so none delays another
    outputs/         MQTT, OPC UA, Modbus/TCP, GPIO, webhook, files
    evidence/        frames and results of rejects, within a budget of disk space
    page/            what an operator sees and may do

`service.py` puts the parts together, `configuration/` reads what they should be from a TOML file, and `watchdog.py`
sees to it that a part that hangs is told.
"""
