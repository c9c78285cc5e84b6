import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

/** A function on the JVM without a framework: asks the Runtime API for an event and answers it with itself. */
public final class Echo {
    private static final byte[] NEXT =
        "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: api\r\n\r\n".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] in = new byte[1 << 16];
    private static String head;
    private static int begin, length;

    private static String header(String name) {
        int at = head.toLowerCase(Locale.ROOT).indexOf("\r\n" + name + ": ");
        if (at < 0) return null;
        int from = at + name.length() + 4;
        return head.substring(from, head.indexOf('\r', from));
    }

    private static void answer(InputStream api) throws Exception {
        int have = 0;
        for (;;) {
            int more = api.read(in, have, in.length - have);
            if (more <= 0) System.exit(0);
            have += more;
            head = new String(in, 0, have, StandardCharsets.ISO_8859_1);
            int end = head.indexOf("\r\n\r\n");
            if (end < 0) continue;
            head = head.substring(0, end + 2);
            String told = header("content-length");
            begin = end + 4;
            length = told == null ? 0 : Integer.parseInt(told);
            if (have - begin >= length) return;
        }
    }

    public static void main(String[] arguments) throws Exception {
        String[] place = System.getenv("AWS_LAMBDA_RUNTIME_API").split(":");
        Socket socket = new Socket(place[0], Integer.parseInt(place[1]));
        socket.setTcpNoDelay(true);
        InputStream api = socket.getInputStream();
        OutputStream out = socket.getOutputStream();
        for (;;) {
            out.write(NEXT);
            answer(api);
            byte[] start = ("POST /2018-06-01/runtime/invocation/" + header("lambda-runtime-aws-request-id")
                + "/response HTTP/1.1\r\nHost: api\r\nContent-Length: " + length + "\r\n\r\n")
                .getBytes(StandardCharsets.US_ASCII);
            byte[] whole = new byte[start.length + length];
            System.arraycopy(start, 0, whole, 0, start.length);
            System.arraycopy(in, begin, whole, start.length, length);
            out.write(whole);
            answer(api);
        }
    }
}
