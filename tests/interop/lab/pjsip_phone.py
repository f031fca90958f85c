"""A telephone of PJSIP (pjsua2) in a process of its own: orders come as lines of JSON, what happens goes out as such.

    python pjsip_phone.py '{"port": 5070, "microphone": "said.wav", "ear": "heard.wav", …}'

It answers every call. PJSIP's threads and Python's do not mix well, so all of it runs on the one thread of its loop.
"""

import json
import os
import select
import sys

import pjsua2 as pj

TRANSPORTS = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}
SRTP = {"off": pj.PJMEDIA_SRTP_DISABLED, "prefer": pj.PJMEDIA_SRTP_OPTIONAL, "require": pj.PJMEDIA_SRTP_MANDATORY}


def tell(**event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Call(pj.Call):
    def __init__(self, phone, call=pj.PJSUA_INVALID_ID):
        super().__init__(phone, call)
        self.phone = phone

    def onCallState(self, _):
        info = self.getInfo()
        tell(event="state", call=info.id, state=info.stateText, code=info.lastStatusCode, why=info.lastReason)
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.phone.calls.pop(info.id, None)

    def onCallMediaState(self, _):
        info = self.getInfo()
        for media in info.media:
            if media.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            tell(event="media", call=info.id, status=media.status)
            if media.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                audio = self.getAudioMedia(media.index)
                self.phone.microphone.startTransmit(audio)
                audio.startTransmit(self.phone.ear)
                stream = self.getStreamInfo(media.index)
                tell(event="codec", call=info.id, codec=f"{stream.codecName}/{stream.codecClockRate}")

    def onDtmfDigit(self, digit):
        tell(event="digit", digit=digit.digit)

    def onCallTransferStatus(self, progress):
        tell(event="transfer", code=progress.statusCode, final=progress.finalNotify)

    def onCallReplaced(self, replaced):
        self.phone.calls[replaced.newCallId] = Call(self.phone, replaced.newCallId)
        tell(event="replaced", call=replaced.newCallId)


class Phone(pj.Account):
    def __init__(self):
        super().__init__()
        self.calls = {}

    def onIncomingCall(self, incoming):
        call = Call(self, incoming.callId)
        self.calls[incoming.callId] = call
        tell(event="incoming", call=incoming.callId, uri=call.getInfo().remoteUri)
        answer = pj.CallOpParam(True)
        answer.statusCode = 180
        call.answer(answer)
        answer.statusCode = 200
        call.answer(answer)


def endpoint(options):
    end = pj.Endpoint()
    end.libCreate()
    config = pj.EpConfig()
    config.logConfig.filename = options["log"]
    config.logConfig.level, config.logConfig.consoleLevel = 5, 0
    config.uaConfig.threadCnt, config.uaConfig.mainThreadOnly = 0, True
    config.medConfig.noVad, config.medConfig.ecTailLen = True, 0
    config.medConfig.clockRate = config.medConfig.sndClockRate = options["rate"]
    end.libInit(config)
    end.audDevManager().setNullDev()
    for codec in end.codecEnum2():
        wanted = codec.codecId.lower().startswith(options["codec"].lower() + "/")
        end.codecSetPriority(codec.codecId, 255 if wanted else 0)
    transport = pj.TransportConfig()
    transport.port, transport.boundAddress = options["port"], "127.0.0.1"
    if options["transport"] == "tls":
        transport.tlsConfig.certFile = options["certificate"]
        transport.tlsConfig.privKeyFile = options["key"]
        transport.tlsConfig.CaListFile = options["authority"]
        transport.tlsConfig.verifyServer = True
    end.transportCreate(TRANSPORTS[options["transport"]], transport)
    end.libStart()
    return end


def phone(options):
    account = Phone()
    config = pj.AccountConfig()
    config.idUri = f"sip:phone@127.0.0.1:{options['port']};transport={options['transport']}"
    config.mediaConfig.srtpUse = SRTP[options["srtp"]]
    config.mediaConfig.srtpSecureSignaling = 0
    config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    config.mediaConfig.transportConfig.port = options["rtp_port"]
    config.mediaConfig.transportConfig.portRange = 20
    account.create(config)
    account.microphone = pj.AudioMediaPlayer()
    account.microphone.createPlayer(options["microphone"])
    account.ear = pj.AudioMediaRecorder()
    account.ear.createRecorder(options["ear"])
    return account


def obey(phone, order):
    call = phone.calls.get(order.get("call", max(phone.calls, default=None)))
    param = pj.CallOpParam(True)
    match order["do"]:
        case "dial":
            call = Call(phone)
            call.makeCall(order["uri"], param)
            phone.calls[call.getInfo().id] = call
        case "hold":
            call.setHold(param)
        case "resume":
            param.opt.flag = pj.PJSUA_CALL_UNHOLD
            call.reinvite(param)
        case "press":
            keys = pj.CallSendDtmfParam()
            keys.digits, keys.method = order["keys"], getattr(pj, f"PJSUA_DTMF_METHOD_{order['how']}")
            call.sendDtmf(keys)
        case "hang_up":
            call.hangup(param)
        case "transfer":
            call.xfer(order["to"], param)
        case "transfer_to":
            call.xferReplaces(phone.calls[order["other"]], param)


def main():
    options = json.loads(sys.argv[1])
    end = endpoint(options)
    account = phone(options)
    tell(event="ready")
    text = b""
    while True:
        end.libHandleEvents(10)
        if not select.select([0], [], [], 0)[0]:
            continue
        read = os.read(0, 65536)
        if not read:
            break
        *lines, text = (text + read).split(b"\n")
        for line in lines:
            try:
                obey(account, json.loads(line))
            except Exception as error:
                tell(event="error", order=line.decode(), why=str(getattr(error, "info", lambda: error)()))
    end.hangupAllCalls()
    for _ in range(20):
        end.libHandleEvents(10)
    # Destroying it in order is not what is tested, and Python's and its own ideas of who owns what differ.
    os._exit(0)


main()
