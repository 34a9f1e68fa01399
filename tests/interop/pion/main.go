// One peer connection of pion: commands come as JSON lines on stdin, answers and what was seen go as JSON lines to
// stdout; the program ends when its stdin does.
//
// A command is {"id", "do", ...} and its answer {"id", "ok"} or {"id", "error"}; the cases of do are below. What is seen
// is {"saw", ...}: ready, candidate, state, ice, channel, message, closed, track, rtp, pli.
//
// Messages and packets have contents that their size or number tells, so that who gets one can check it.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// A report of what has come in is made each time that so many packets more have.
const reportEach = 25

type line map[string]any

var out sync.Mutex

func say(what line) {
	out.Lock()
	defer out.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(what)
}

type command struct {
	ID             int              `json:"id"`
	Do             string           `json:"do"`
	SDP            string           `json:"sdp"`
	Restart        bool             `json:"restart"`
	Candidate      *json.RawMessage `json:"candidate"`
	Label          string           `json:"label"`
	Ordered        *bool            `json:"ordered"`
	MaxRetransmits *uint16          `json:"maxRetransmits"`
	Negotiated     *uint16          `json:"negotiated"`
	Text           string           `json:"text"`
	Size           int              `json:"size"`
	Kind           string           `json:"kind"`
	Stream         string           `json:"stream"`
	Track          string           `json:"track"`
	Count          int              `json:"count"`
}

func pattern(size int) []byte {
	made := make([]byte, size)
	for i := range made {
		made[i] = byte(i * 7 % 251)
	}
	return made
}

// The payload of a packet: its number, and before it for VP8 a descriptor that says that a frame begins.
func payload(kind string, number uint64) []byte {
	made := make([]byte, 0, 128)
	if kind == "video" {
		made = append(made, 0x10)
	}
	made = binary.BigEndian.AppendUint64(made, number)
	return append(made, pattern(64)...)
}

type peer struct {
	connection *webrtc.PeerConnection
	sync.Mutex
	channels map[string]*webrtc.DataChannel
	tracks   map[string]*webrtc.TrackLocalStaticRTP
	sources  map[string]uint32
}

func newPeer() (*peer, error) {
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	connection, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	p := &peer{
		connection: connection,
		channels:   map[string]*webrtc.DataChannel{},
		tracks:     map[string]*webrtc.TrackLocalStaticRTP{},
		sources:    map[string]uint32{},
	}
	connection.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		if candidate != nil {
			say(line{"saw": "candidate", "candidate": candidate.ToJSON()})
		}
	})
	connection.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		say(line{"saw": "state", "state": state.String()})
	})
	connection.OnICEConnectionStateChange(func(state webrtc.ICEConnectionState) {
		say(line{"saw": "ice", "state": state.String()})
	})
	connection.OnDataChannel(p.listen)
	connection.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.hear(track) })
	return p, nil
}

func (p *peer) listen(channel *webrtc.DataChannel) {
	label := channel.Label()
	p.Lock()
	p.channels[label] = channel
	p.Unlock()
	channel.OnOpen(func() {
		say(line{
			"saw": "channel", "label": label, "stream": channel.ID(), "ordered": channel.Ordered(),
			"maxRetransmits": channel.MaxRetransmits(), "negotiated": channel.Negotiated(),
		})
	})
	channel.OnClose(func() { say(line{"saw": "closed", "label": label}) })
	channel.OnError(func(err error) { say(line{"saw": "error", "label": label, "error": err.Error()}) })
	channel.OnMessage(func(message webrtc.DataChannelMessage) {
		seen := line{"saw": "message", "label": label, "size": len(message.Data)}
		if message.IsString {
			seen["text"] = string(message.Data)
		} else {
			seen["intact"] = bytes.Equal(message.Data, pattern(len(message.Data)))
		}
		say(seen)
	})
}

func (p *peer) hear(track *webrtc.TrackRemote) {
	kind, rid := track.Kind().String(), track.RID()
	p.Lock()
	p.sources[kind+rid] = uint32(track.SSRC())
	p.Unlock()
	say(line{
		"saw": "track", "kind": kind, "rid": rid, "stream": track.StreamID(), "track": track.ID(),
		"codec": track.Codec().MimeType,
	})
	numbers := map[uint64]bool{}
	changed, twice, resent, first := 0, 0, 0, uint64(0)
	for {
		packet, attributes, err := track.ReadRTP()
		if err != nil {
			return
		}
		got, skip := packet.Payload, 0
		if kind == "video" {
			skip = 1
		}
		if len(got) < skip+8 {
			changed++
			continue
		}
		number := binary.BigEndian.Uint64(got[skip:])
		if len(numbers) == 0 {
			first = number
		}
		step := uint64(960)
		if kind == "video" {
			step = 3000
		}
		marked := kind == "video"
		if !bytes.Equal(got, payload(kind, number)) || packet.Timestamp != uint32(number*step) || packet.Marker != marked {
			changed++
		}
		// What came as RTX pion asks for again and again: it looks for it in the stream itself.
		isResent := attributes != nil && attributes.Get(webrtc.AttributeRtxSsrc) != nil
		if isResent {
			resent++
		}
		if numbers[number] {
			if !isResent {
				twice++
			}
			continue
		}
		numbers[number] = true
		if len(numbers)%reportEach == 0 {
			say(line{
				"saw": "rtp", "kind": kind, "rid": rid, "count": len(numbers), "changed": changed, "twice": twice,
				"resent": resent, "first": first,
			})
		}
	}
}

func (p *peer) do(c command) (any, error) {
	switch c.Do {
	case "offer":
		offer, err := p.connection.CreateOffer(&webrtc.OfferOptions{ICERestart: c.Restart})
		if err != nil {
			return nil, err
		}
		return offer.SDP, p.connection.SetLocalDescription(offer)
	case "accept_offer":
		offer := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: c.SDP}
		if err := p.connection.SetRemoteDescription(offer); err != nil {
			return nil, err
		}
		answer, err := p.connection.CreateAnswer(nil)
		if err != nil {
			return nil, err
		}
		return answer.SDP, p.connection.SetLocalDescription(answer)
	case "accept_answer":
		answer := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: c.SDP}
		return nil, p.connection.SetRemoteDescription(answer)
	case "candidate":
		var candidate webrtc.ICECandidateInit
		if c.Candidate == nil {
			return nil, errors.New("no candidate")
		}
		if err := json.Unmarshal(*c.Candidate, &candidate); err != nil {
			return nil, err
		}
		return nil, p.connection.AddICECandidate(candidate)
	case "channel":
		negotiated := c.Negotiated != nil
		channel, err := p.connection.CreateDataChannel(c.Label, &webrtc.DataChannelInit{
			Ordered: c.Ordered, MaxRetransmits: c.MaxRetransmits, ID: c.Negotiated, Negotiated: &negotiated,
		})
		if err != nil {
			return nil, err
		}
		p.listen(channel)
		return nil, nil
	case "send", "close_channel":
		p.Lock()
		channel := p.channels[c.Label]
		p.Unlock()
		switch {
		case channel == nil:
			return nil, errors.New("no such channel")
		case c.Do == "close_channel":
			return nil, channel.Close()
		case c.Text != "":
			return nil, channel.SendText(c.Text)
		default:
			return nil, channel.Send(pattern(c.Size))
		}
	case "track":
		return nil, p.addTrack(c)
	case "receive":
		_, err := p.connection.AddTransceiverFromKind(
			webrtc.NewRTPCodecType(c.Kind), webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		return nil, err
	case "send_rtp":
		return nil, p.sendRTP(c)
	case "pli":
		p.Lock()
		source := p.sources[c.Kind]
		p.Unlock()
		return nil, p.connection.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: source}})
	case "close":
		return nil, p.connection.Close()
	default:
		return nil, fmt.Errorf("%s is no command", c.Do)
	}
}

func (p *peer) addTrack(c command) error {
	codec := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	if c.Kind == "video" {
		codec = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	}
	track, err := webrtc.NewTrackLocalStaticRTP(codec, c.Track, c.Stream)
	if err != nil {
		return err
	}
	sender, err := p.connection.AddTrack(track)
	if err != nil {
		return err
	}
	p.tracks[c.Kind] = track
	go func() {
		for {
			packets, _, err := sender.ReadRTCP()
			if err != nil {
				return
			}
			for _, packet := range packets {
				if _, is := packet.(*rtcp.PictureLossIndication); is {
					say(line{"saw": "pli", "kind": c.Kind})
				}
			}
		}
	}()
	return nil
}

// Sends packets of one track, 10 ms apart.
func (p *peer) sendRTP(c command) error {
	track := p.tracks[c.Kind]
	if track == nil {
		return errors.New("no such track")
	}
	step := uint32(960)
	if c.Kind == "video" {
		step = 3000
	}
	for number := range c.Count {
		packet := &rtp.Packet{
			Header: rtp.Header{
				Version: 2, Marker: c.Kind == "video", SequenceNumber: uint16(65500 + number),
				Timestamp: uint32(number) * step,
			},
			Payload: payload(c.Kind, uint64(number)),
		}
		if err := track.WriteRTP(packet); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

func run(in io.Reader) error {
	p, err := newPeer()
	if err != nil {
		return err
	}
	say(line{"saw": "ready"})
	lines := bufio.NewReader(in)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return p.connection.Close()
		}
		var c command
		if err := json.Unmarshal(text, &c); err != nil {
			return err
		}
		if ok, err := p.do(c); err != nil {
			say(line{"id": c.ID, "error": err.Error()})
		} else {
			say(line{"id": c.ID, "ok": ok})
		}
	}
}

func main() {
	if err := run(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
