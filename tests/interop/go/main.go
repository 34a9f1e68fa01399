// LiveKit's Go SDK in a room: commands come as JSON lines on stdin, answers and what was seen go as JSON lines to
// stdout.
//
// tests/interop/README.md has the commands and what is seen; the program ends when its stdin does. It has no codec: the
// microphone is a recorded tone, audio heard is Opus packets that are no silence, video seen is the size in key frames.
package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

const (
	// An Opus packet of silence is shorter.
	silence   = 8
	loudCount = 25
	wait      = 20 * time.Second
	packet    = 20 * time.Millisecond
)

// A tone of 440 Hz, an Opus packet of 20 ms in base64 a line; it has whole periods and can be repeated.
//
//go:embed tone.txt
var tone string

type line map[string]any

var out sync.Mutex

// The last that was said of each participant's picture.
var pictures sync.Map

func say(what line) {
	out.Lock()
	defer out.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(what)
}

func pattern(size int) []byte {
	bytes := make([]byte, size)
	for i := range bytes {
		bytes[i] = byte(i * 7 % 251)
	}
	return bytes
}

func source(publication lksdk.TrackPublication) string {
	switch publication.Source() {
	case livekit.TrackSource_MICROPHONE:
		return "microphone"
	case livekit.TrackSource_CAMERA:
		return "camera"
	default:
		return "other"
	}
}

type peer struct {
	room       *lksdk.Room
	microphone *lksdk.LocalTrackPublication
}

func isLocal(participant lksdk.Participant) bool {
	_, local := participant.(*lksdk.LocalParticipant)
	return local
}

func callbacks() *lksdk.RoomCallback {
	remote := func(saw string, publication lksdk.TrackPublication, who lksdk.Participant) {
		if !isLocal(who) {
			say(line{"saw": saw, "who": who.Identity(), "source": source(publication)})
		}
	}
	return &lksdk.RoomCallback{
		OnParticipantConnected: func(who *lksdk.RemoteParticipant) {
			say(line{"saw": "joined", "who": who.Identity()})
		},
		OnParticipantDisconnected: func(who *lksdk.RemoteParticipant) {
			say(line{"saw": "left", "who": who.Identity()})
		},
		OnReconnecting: func() { say(line{"saw": "reconnecting"}) },
		OnReconnected:  func() { say(line{"saw": "reconnected"}) },
		OnDisconnectedWithReason: func(reason lksdk.DisconnectionReason) {
			say(line{"saw": "disconnected", "reason": string(reason)})
		},
		ParticipantCallback: lksdk.ParticipantCallback{
			OnTrackMuted: func(publication lksdk.TrackPublication, who lksdk.Participant) {
				remote("muted", publication, who)
			},
			OnTrackUnmuted: func(publication lksdk.TrackPublication, who lksdk.Participant) {
				remote("unmuted", publication, who)
			},
			OnMetadataChanged: func(_ string, who lksdk.Participant) {
				say(line{"saw": "metadata", "who": who.Identity(), "metadata": who.Metadata()})
			},
			OnAttributesChanged: func(changed map[string]string, who lksdk.Participant) {
				say(line{"saw": "attributes", "who": who.Identity(), "changed": changed})
			},
			OnDataPacket: func(data lksdk.DataPacket, from lksdk.DataReceiveParams) {
				// The SDK does not tell which channel it came on.
				if user, ok := data.(*lksdk.UserDataPacket); ok {
					payload := string(user.Payload)
					say(line{"saw": "data", "who": from.SenderIdentity, "payload": payload, "topic": user.Topic})
				}
			},
			OnTrackSubscribed: subscribed,
		},
	}
}

func subscribed(track *webrtc.TrackRemote, publication *lksdk.RemoteTrackPublication, who *lksdk.RemoteParticipant) {
	say(line{"saw": "subscribed", "who": who.Identity(), "source": source(publication)})
	if track.Kind() == webrtc.RTPCodecTypeAudio {
		go hear(track, who.Identity())
	} else {
		go watch(track, who.Identity())
	}
}

func hear(track *webrtc.TrackRemote, who string) {
	for loud := 0; ; {
		got, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if len(got.Payload) > silence {
			loud++
			if loud == loudCount {
				say(line{"saw": "audio", "who": who})
			}
		}
	}
}

func watch(track *webrtc.TrackRemote, who string) {
	var width, height int
	for {
		got, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		var vp8 codecs.VP8Packet
		frame, err := vp8.Unmarshal(got.Payload)
		// The first packet of a key frame has the start code and the size.
		if err != nil || vp8.S != 1 || vp8.PID != 0 || len(frame) < 10 || frame[0]&1 != 0 {
			continue
		}
		w, h := int(frame[6])|int(frame[7]&0x3f)<<8, int(frame[8])|int(frame[9]&0x3f)<<8
		if w != width || h != height {
			width, height = w, h
			picture := line{"saw": "video", "who": who, "width": width, "height": height}
			pictures.Store(who, picture)
			say(picture)
		}
	}
}

// recording plays the tone again and again.
type recording struct {
	lksdk.BaseSampleProvider
	packets [][]byte
	next    int
}

func (r *recording) NextSample(context.Context) (media.Sample, error) {
	data := r.packets[r.next]
	r.next = (r.next + 1) % len(r.packets)
	return media.Sample{Data: data, Duration: packet}, nil
}

func recorded() (*recording, error) {
	var packets [][]byte
	for _, text := range strings.Fields(tone) {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, err
		}
		packets = append(packets, data)
	}
	return &recording{packets: packets}, nil
}

type command struct {
	ID         uint64            `json:"id"`
	Do         string            `json:"do"`
	URL        string            `json:"url"`
	Token      string            `json:"token"`
	Payload    string            `json:"payload"`
	Reliable   bool              `json:"reliable"`
	Topic      string            `json:"topic"`
	Text       string            `json:"text"`
	Size       int               `json:"size"`
	To         string            `json:"to"`
	Muted      bool              `json:"muted"`
	Attributes map[string]string `json:"attributes"`
	Metadata   string            `json:"metadata"`
	Who        string            `json:"who"`
	Quality    string            `json:"quality"`
}

func (p *peer) connect(url, token string) error {
	room := lksdk.NewRoom(callbacks())
	err := errors.Join(
		room.RegisterTextStreamHandler("text", func(reader *lksdk.TextStreamReader, who string) {
			say(line{"saw": "text", "who": who, "text": reader.ReadAll()})
		}),
		room.RegisterByteStreamHandler("bytes", func(reader *lksdk.ByteStreamReader, who string) {
			data := reader.ReadAll()
			intact := string(data) == string(pattern(len(data)))
			say(line{"saw": "bytes", "who": who, "name": *reader.Info.Name, "size": len(data), "intact": intact})
		}),
		room.RegisterRpcMethod("answer", func(call lksdk.RpcInvocationData) (string, error) {
			if call.Payload == "refuse" {
				return "", lksdk.NewRpcError(1234, "refused", nil)
			}
			return call.CallerIdentity + " said " + call.Payload, nil
		}),
	)
	if err != nil {
		return err
	}
	if err := room.JoinWithToken(url, token); err != nil {
		return err
	}
	p.room = room
	for _, who := range room.GetRemoteParticipants() {
		say(line{"saw": "joined", "who": who.Identity()})
	}
	return nil
}

func (p *peer) bytes(size int) {
	name := "pattern.bin"
	options := lksdk.StreamBytesOptions{Topic: "bytes", FileName: &name, TotalSize: uint64(size)}
	writer := p.room.LocalParticipant.StreamBytes(options)
	done := make(chan struct{})
	onDone := func() { close(done) }
	writer.Write(pattern(size), &onDone)
	<-done
	writer.Close()
}

func (p *peer) rpc(to, payload string) (line, error) {
	timeout := 10 * time.Second
	answer, err := p.room.LocalParticipant.PerformRpc(lksdk.PerformRpcParams{
		DestinationIdentity: to,
		Method:              "answer",
		Payload:             payload,
		ResponseTimeout:     &timeout,
	})
	var refused *lksdk.RpcError
	if errors.As(err, &refused) {
		return line{"code": refused.Code, "message": refused.Message}, nil
	}
	if err != nil {
		return nil, err
	}
	return line{"answer": *answer}, nil
}

func (p *peer) publish() error {
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{
		MimeType:  webrtc.MimeTypeOpus,
		ClockRate: 48_000,
		Channels:  2,
	})
	if err != nil {
		return err
	}
	tone, err := recorded()
	if err != nil {
		return err
	}
	if err := track.StartWrite(tone, nil); err != nil {
		return err
	}
	options := lksdk.TrackPublicationOptions{Name: "microphone", Source: livekit.TrackSource_MICROPHONE}
	p.microphone, err = p.room.LocalParticipant.PublishTrack(track, &options)
	return err
}

func (p *peer) layer(who, quality string) error {
	wanted := map[string]livekit.VideoQuality{"low": livekit.VideoQuality_LOW, "high": livekit.VideoQuality_HIGH}[quality]
	participant := p.room.GetParticipantByIdentity(who)
	if participant == nil {
		return errors.New("no such participant")
	}
	// It may have the wanted size already.
	if picture, ok := pictures.Load(who); ok {
		say(picture.(line))
	}
	for _, publication := range participant.TrackPublications() {
		if video, ok := publication.(*lksdk.RemoteTrackPublication); ok && video.Kind() == lksdk.TrackKindVideo {
			if err := video.SetVideoQuality(wanted); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *peer) do(it command) (line, error) {
	if it.Do != "connect" && p.room == nil {
		return nil, errors.New("not connected")
	}
	switch it.Do {
	case "connect":
		return nil, p.connect(it.URL, it.Token)
	case "data":
		options := []lksdk.DataPublishOption{
			lksdk.WithDataPublishReliable(it.Reliable),
			lksdk.WithDataPublishTopic(it.Topic),
		}
		return nil, p.room.LocalParticipant.PublishDataPacket(lksdk.UserData([]byte(it.Payload)), options...)
	case "text":
		p.room.LocalParticipant.SendText(it.Text, lksdk.StreamTextOptions{Topic: "text"})
	case "bytes":
		p.bytes(it.Size)
	case "rpc":
		return p.rpc(it.To, it.Payload)
	case "microphone":
		return nil, p.publish()
	case "mute":
		if p.microphone == nil {
			return nil, errors.New("no microphone")
		}
		p.microphone.SetMuted(it.Muted)
	case "describe":
		p.room.LocalParticipant.SetAttributes(it.Attributes)
		p.room.LocalParticipant.SetMetadata(it.Metadata)
	case "layer":
		return nil, p.layer(it.Who, it.Quality)
	case "leave":
		p.room.Disconnect()
	default:
		return nil, fmt.Errorf("no command %q", it.Do)
	}
	return nil, nil
}

func (p *peer) obey(it command) {
	type result struct {
		answer line
		err    error
	}
	done := make(chan result, 1)
	go func() {
		answer, err := p.do(it)
		done <- result{answer, err}
	}()
	select {
	case got := <-done:
		if got.err != nil {
			say(line{"id": it.ID, "error": got.err.Error()})
			return
		}
		if got.answer == nil {
			got.answer = line{}
		}
		say(line{"id": it.ID, "ok": got.answer})
	case <-time.After(wait):
		say(line{"id": it.ID, "error": "it took too long"})
	}
}

func main() {
	log.SetOutput(os.Stderr)
	var p peer
	commands := json.NewDecoder(bufio.NewReader(os.Stdin))
	say(line{"saw": "ready"})
	for {
		var it command
		if err := commands.Decode(&it); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		p.obey(it)
	}
}
