package emrctl;

import java.io.BufferedReader;
import java.io.File;
import java.io.FileReader;
import java.io.IOException;
import java.net.InetAddress;
import javax.servlet.Filter;
import javax.servlet.FilterChain;
import javax.servlet.FilterConfig;
import javax.servlet.ServletException;
import javax.servlet.ServletRequest;
import javax.servlet.ServletResponse;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;

/**
 * Serves a Spark page only to the user who runs it, and to no page of another site.
 *
 * The kernel knows who owns the other end of a connection on loopback: /proc/net/tcp lists it. A
 * request's Host must be a loopback name, so that no other name can be made to point to this page.
 */
public class LocalUserFilter implements Filter {
    // The inode of a connection that no process has open any more; its user is shown as root.
    private static final String CLOSED = "0";

    public void init(FilterConfig config) { }

    public void destroy() { }

    public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        String refusal = refusal((HttpServletRequest) request);
        if (refusal == null) {
            chain.doFilter(request, response);
        } else {
            ((HttpServletResponse) response).sendError(403, refusal);
        }
    }

    private static String refusal(HttpServletRequest request) throws IOException {
        if (!isLoopback(hostOf(request.getHeader("Host")))) {
            return "The Host header is not a loopback address.";
        }
        String origin = request.getHeader("Origin");
        if (origin != null && !isLoopback(hostOfOrigin(origin))) {
            return "The request comes from another site.";
        }
        String site = request.getHeader("Sec-Fetch-Site");
        boolean foreign = "cross-site".equals(site) || "same-site".equals(site);
        if (foreign && !"document".equals(request.getHeader("Sec-Fetch-Dest"))) {
            return "The request comes from another site.";
        }
        return isOwnUser(request) ? null : "The page belongs to another user.";
    }

    private static String hostOf(String header) {
        if (header == null) {
            return "";
        }
        int end = header.startsWith("[") ? header.indexOf("]") + 1 : header.indexOf(":");
        return end > 0 ? header.substring(0, end) : header;
    }

    private static String hostOfOrigin(String origin) {
        int start = origin.indexOf("://");
        return start < 0 ? "" : hostOf(origin.substring(start + 3));
    }

    private static boolean isLoopback(String host) {
        return host.equals("localhost") || host.equals("[::1]")
            || host.matches("127\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}");
    }

    private static boolean isOwnUser(HttpServletRequest request) throws IOException {
        if (!new File("/proc/net/tcp").exists()) {
            return true;
        }
        String near = address(request.getLocalAddr(), request.getLocalPort());
        String far = address(request.getRemoteAddr(), request.getRemotePort());
        // The table may change while it is read.
        for (int attempt = 0; attempt < 3; attempt++) {
            String own = ownerOf(near, far);
            String other = ownerOf(far, near);
            if (own != null && other != null) {
                return own.equals(other);
            }
        }
        return false;
    }

    /** Return the user id of the connected socket with these ends; null if there is none. */
    private static String ownerOf(String local, String remote) throws IOException {
        String[] tables = new String[] {"/proc/net/tcp", "/proc/net/tcp6"};
        for (int i = 0; i < tables.length; i++) {
            if (!new File(tables[i]).exists()) {
                continue;
            }
            BufferedReader reader = new BufferedReader(new FileReader(tables[i]));
            try {
                for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                    String[] columns = line.trim().split("\\s+");
                    if (columns.length > 9 && columns[1].endsWith(local)
                            && columns[2].endsWith(remote) && !columns[9].equals(CLOSED)) {
                        return columns[7];
                    }
                }
            } finally {
                reader.close();
            }
        }
        return null;
    }

    /** Return the end of the kernel's form of an address; IPv4 is also part of IPv6 addresses. */
    private static String address(String host, int port) throws IOException {
        byte[] bytes = InetAddress.getByName(host).getAddress();
        StringBuilder text = new StringBuilder();
        for (int word = 0; word < bytes.length; word += 4) {
            for (int at = word + 3; at >= word; at--) {
                text.append(String.format("%02X", new Object[] {Integer.valueOf(bytes[at] & 255)}));
            }
        }
        return text.append(String.format(":%04X", new Object[] {Integer.valueOf(port)})).toString();
    }
}
